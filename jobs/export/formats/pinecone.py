"""Pinecone's bulk import: Parquet with id, values and metadata for its vector indexes, and the same as JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.errors import UsageError
from embermill.jobs.export.formats.files import LinesFormat, ParquetFormat, plain_writer, vector_lists
from embermill.jobs.export.formats.format import KEPT
from embermill.jobs.export.formats.json_lines import joined, metadata_of, number_lists, one_line
from embermill.jobs.export.source import Part
from embermill.jobs.index.metadata_json import json_text

SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False), ("values", pa.list_(pa.float32())), ("metadata", pa.string())])


class PineconeParquet(ParquetFormat):
    """OUT/NAMESPACE/*.parquet: the import is given OUT. `__default__` is the default namespace."""

    limits = "pinecone"
    renames = (KEPT,)
    options: ClassVar[Mapping[str, str]] = {"namespace": "__default__"}

    @property
    def folder(self) -> str:
        return self.chosen["namespace"]

    def prepare(self) -> None:
        super().prepare()
        if not self.folder or "/" in self.folder or self.folder.startswith("."):
            raise UsageError(f"--option namespace={self.folder}: expected the name of a namespace, which becomes a folder")

    def open_writer(self, path: Path) -> pq.ParquetWriter:
        return plain_writer(path, SCHEMA)

    def table(self, part: Part) -> pa.RecordBatch:
        metadata = [json_text(row) if row else None for row in metadata_of(part)]
        return pa.RecordBatch.from_arrays([part.ids.cast(pa.string()), vector_lists(part), pa.array(metadata, pa.string())], schema=SCHEMA)


class PineconeJsonl(LinesFormat):
    """One object a line: id, values, metadata. Never tried against an index."""

    limits = "pinecone-jsonl"
    renames = (KEPT,)
    pattern = "part-{}.jsonl"

    def lines(self, part: Part) -> Iterator[str]:
        for key, values, metadata in zip(part.ids.cast(pa.string()).to_pylist(), number_lists(part.vectors), metadata_of(part), strict=True):
            yield joined(("id", one_line(key)), ("values", values), *([("metadata", one_line(metadata))] if metadata else []))
