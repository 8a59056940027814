"""`vespa feed`: one put a line, vectors in hexadecimal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

import pyarrow as pa

from embermill.jobs.errors import UsageError
from embermill.jobs.export.formats.files import LinesFormat
from embermill.jobs.export.formats.format import KEPT, VECTOR
from embermill.jobs.export.formats.json_lines import hex_vectors, metadata_of, one_line
from embermill.jobs.export.source import Part


class Vespa(LinesFormat):
    """The schema has a field `tensor<float>(x[DIM])` of the vector column's name, and one for each kept column."""

    limits = "vespa"
    options: ClassVar[Mapping[str, str]] = {"namespace": "embermill", "type": "doc"}
    renames = (VECTOR, KEPT)
    pattern = "part-{}.jsonl"

    def prepare(self) -> None:
        super().prepare()
        for name, value in self.chosen.items():
            if not re.fullmatch("[A-Za-z0-9_.-]+", value):
                raise UsageError(f"--option {name}={value}: expected letters, digits, _ - and . alone: it becomes a part of document ids")

    def lines(self, part: Part) -> Iterator[str]:
        prefix, field = f"id:{self.chosen['namespace']}:{self.chosen['type']}::", self.source.columns.vector_name
        for key, values, metadata in zip(part.ids.cast(pa.string()).to_pylist(), hex_vectors(part.vectors), metadata_of(part), strict=True):
            yield one_line({"put": prefix + key, "fields": {field: {"values": values}} | metadata})
