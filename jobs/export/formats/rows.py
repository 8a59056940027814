"""Whole rows as Parquet: a folder for `datasets.load_dataset`, and the current rows in plain Parquet for every tool that is not named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.counts import several
from embermill.jobs.export.formats.files import ParquetFormat
from embermill.jobs.export.source import Part
from embermill.jobs.export.state import replace_file
from embermill.jobs.shard.writer import open_writer

CARD = "README.md"


class Portable(ParquetFormat):
    """As `output.encoding: portable` writes shards: vectors as plain lists, PLAIN and dictionary pages, Snappy. A glob gives the rows."""

    dtypes = ()

    def open_writer(self, path: Path) -> pq.ParquetWriter:
        plan = self.source.plan
        return open_writer(path, replace(plan, schema=self.source.schema, config=plan.config | {"output.encoding": "portable"}, names_model=True))

    def table(self, part: Part) -> pa.RecordBatch:
        return part.batch


class HuggingFace(ParquetFormat):
    """data/*.parquet and a card. Small row groups, a page index and content-defined chunks, as the Hub wants them."""

    dtypes = ()
    options: ClassVar[Mapping[str, str]] = {"name": ""}

    @property
    def folder(self) -> str:
        return "data"

    def open_writer(self, path: Path) -> pq.ParquetWriter:
        schema, vectors = self.source.schema, {form.column for form in self.source.plan.stored}
        dictionaries = [field.name for field in schema if field.name not in vectors and field.name != self.source.columns.id]
        options = {"use_content_defined_chunking": True, "write_page_index": True, "write_page_checksum": True}
        return pq.ParquetWriter(path, schema, compression="zstd", compression_level=1, use_dictionary=dictionaries, **options)

    def table(self, part: Part) -> pa.RecordBatch:
        return part.batch

    def finish(self) -> tuple[str, ...]:
        (self.out / "data").mkdir(exist_ok=True)
        if not any((self.out / "data").glob("*.parquet")):
            with self.open_writer(self.out / "data/part-000000.parquet"):
                pass
        replace_file(self.out / CARD, "\n".join([*self._card(), ""]).encode())
        return (CARD,)

    def _card(self) -> Iterator[str]:
        source = self.source
        name = self.chosen["name"] or source.folder.root.rstrip("/").rpartition("/")[2]
        yield from ("---", "configs:", "- config_name: default", "  data_files:", "  - split: train", "    path: data/*.parquet")
        yield from (f"size_categories:\n- {_size(source.rows)}", "tags:", "- embeddings", "---", f"# {name}", "")
        made = f" by `{source.plan.model_name}`" if source.plan.model_name else ""
        yield f"{several(source.rows, 'row')} with embeddings{made}, made by embermill; version {source.version.number} of its dataset."
        yield from ("", "| column | type |", "| --- | --- |")
        yield from (f"| `{field.name}` | {_type(field.type)} |" for field in source.schema)


def _size(rows: int) -> str:
    """As the Hub names sizes."""
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"), (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))
    return next((name for bound, name in bounds if rows < bound), "100M<n<1B" if rows < 10**9 else "n>1B")


def _type(kind: pa.DataType) -> str:
    return f"{kind.value_type}[{kind.list_size}]" if pa.types.is_fixed_size_list(kind) else str(kind).replace("|", "\\|")
