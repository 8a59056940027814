"""Documents as the cutter takes them, from rows as the reader gives them."""

from __future__ import annotations

from collections.abc import Callable

from embermill.jobs.chunking.cutter import Document
from embermill.jobs.corpus.formats.document import is_markdown
from embermill.jobs.corpus.rows import RowBatch, RowSchema

IsMarkdown = Callable[[str], bool]


def markdown_test(rules: str) -> IsMarkdown:
    """Whether a file's documents are Markdown, by chunk.rules and its name."""
    if rules == "auto":
        return is_markdown
    return lambda path: rules == "markdown"


def documents_to_cut(batch: RowBatch, schema: RowSchema, of_markdown: IsMarkdown) -> list[Document]:
    """batch: as schema.of_documents reads it. One of each text, with its columns of chunk.prefix_columns."""
    texts = batch.texts.to_pylist()
    prefixes = [column.to_pylist() for column in batch.kept[len(schema.kept) :]]
    columns = list(zip(*prefixes, strict=True)) if prefixes else [()] * len(texts)
    markdown = [of_markdown(batch.locate(int(row))[0]) for row in batch.rows]
    cut_as = zip(texts, columns, markdown, strict=True)
    return [Document(text, tuple(filter(None, found)), is_md, schema.finds_front_matter) for text, found, is_md in cut_as]
