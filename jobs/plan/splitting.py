"""What `model.on_long_text: split` makes of a corpus, from a sample that is cut: rows, tokens and bytes, told before anything is embedded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from embermill.jobs.chunking.cutter import Cutter, Document
from embermill.jobs.chunking.late import LateCutter
from embermill.jobs.engine import CountTokens

CUT_CHARACTERS = 1 << 20  # of a sample, in all: about a second of one core
LEAST_CUT_CHARACTERS = 1 << 15  # of a partition


@dataclass(frozen=True)
class Splitting:
    """Of the whole corpus, estimated. documents_over: longer than the model's limit; tokens_over: what is beyond it in them.

    rows: chunks in all, those of documents that fit included; tokens: in them, prompt, special tokens and prefixes included.
    extra_*: that much more than with `truncate`. output_bytes, seconds: None where they are not known.
    """

    documents_over: int
    tokens_over: int
    rows: int
    tokens: int
    extra_rows: int
    extra_tokens: int
    output_bytes: int | None
    seconds: float | None

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass
class Ratio:
    """What cutting made of the texts over the limit that were cut: so many chunks and tokens of so many tokens of text. refused: (file, why) of those that
    cannot be cut, and count for nothing else."""

    cutter: Cutter | LateCutter
    count: CountTokens
    text_tokens: float = 0.0
    chunks: int = 0
    chunk_tokens: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def add(self, documents: Sequence[Document], lengths: Sequence[int], files: Sequence[str], characters: int) -> None:
        """documents: over the limit; lengths: their tokens; files: that they are of.
        Of them so many characters are cut, the last one to a part of its beginning."""
        for document, length, file in zip(documents, lengths, files, strict=True):
            if characters <= 0:
                return
            part = document.text[:characters]
            cut = self.cutter.cut([replace(document, text=part)])[0]
            characters -= len(part)
            if cut.refused:
                self.refused.append((file, cut.refused))
                continue
            chunks = cut.chunks
            self.text_tokens += length * len(part) / len(document.text)
            self.chunks += len(chunks)
            self.chunk_tokens += int(np.sum(self.count([chunk.prefix.text + part[chunk.start : chunk.end] for chunk in chunks])))


@dataclass
class Sums:
    """Of the corpus, as its sampled partitions tell: documents and tokens that fit the limit, and those over it, whole."""

    limit: int
    fitting: list[float] = field(default_factory=lambda: [0.0, 0.0])  # documents, tokens
    over: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, lengths: np.ndarray, rows: float) -> None:
        """lengths: [N] whole tokens of a partition's sampled texts. rows: that they stand for."""
        weight = rows / len(lengths)
        for chosen, sums in ((lengths <= self.limit, self.fitting), (lengths > self.limit, self.over)):
            sums[0] += weight * int(chosen.sum())
            sums[1] += weight * int(lengths[chosen].sum())


def splitting(sums: Sums, ratio: Ratio, documents: float, row_bytes: int | None, tokens_per_s: float | None) -> Splitting | None:
    """documents: of the corpus. row_bytes: of a row of the dataset. None where no text is over the limit."""
    sampled = sums.fitting[0] + sums.over[0]
    if not sums.over[0] or not ratio.text_tokens:
        return None
    scale = documents / sampled
    over, over_tokens = sums.over[0] * scale, sums.over[1] * scale
    chunks, chunk_tokens = (over_tokens * made / ratio.text_tokens for made in (ratio.chunks, ratio.chunk_tokens))
    rows, tokens = round(sums.fitting[0] * scale + chunks), round(sums.fitting[1] * scale + chunk_tokens)
    return Splitting(
        documents_over=round(over),
        tokens_over=round(over_tokens - over * sums.limit),
        rows=rows,
        tokens=tokens,
        extra_rows=round(rows - documents),
        extra_tokens=round(tokens - sums.fitting[1] * scale - over * sums.limit),
        output_bytes=None if row_bytes is None else rows * row_bytes,
        seconds=None if not tokens_per_s else tokens / tokens_per_s,
    )
