"""The bulk API of Elasticsearch and OpenSearch: an action and a document on a line each.

Each document has the dataset's version of its row as an external version: sent twice, or after a newer one, it changes nothing. 48 MB a file, one request each:

    for file in OUT/*.ndjson; do curl -H 'Content-Type: application/x-ndjson' --data-binary @"$file" "$SERVER/_bulk"; done
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pyarrow as pa

from embermill.jobs.errors import UsageError
from embermill.jobs.export.formats.files import LinesFormat
from embermill.jobs.export.formats.format import KEPT, VECTOR, is_flag
from embermill.jobs.export.formats.json_lines import base64_vectors, joined, metadata_of, number_lists, one_line
from embermill.jobs.export.source import Part
from embermill.jobs.export.state import replace_file
from embermill.jobs.index.metadata_json import json_kind

MAPPING = "_mapping.json"


class _Bulk(LinesFormat):
    options: ClassVar[Mapping[str, str]] = {"index": "embeddings"}
    renames = (VECTOR, KEPT)
    pattern = "part-{}.ndjson"

    def prepare(self) -> None:
        super().prepare()
        if not self.chosen["index"]:
            raise UsageError("--option index=: expected the name of an index")

    def lines(self, part: Part) -> Iterator[str]:
        field = self.source.columns.vector_name
        keys, versions = part.ids.cast(pa.string()).to_pylist(), part.versions.tolist()
        for key, version, vector, metadata in zip(keys, versions, self.vectors(part), metadata_of(part), strict=True):
            yield one_line({"index": {"_index": self.chosen["index"], "_id": key, "version": version, "version_type": "external"}})
            yield joined((field, vector), *((name, one_line(value)) for name, value in metadata.items()))

    def vectors(self, part: Part) -> Iterator[str]:
        """As JSON."""
        return number_lists(part.vectors)

    def finish(self) -> tuple[str, ...]:
        """The mapping to create the index with; what the documents do not decide is its reader's."""
        columns = self.source.columns
        fields = {columns.vector_name: self.vector_field(columns.vector.dim)} | {field.name: _field(field.type) for field in columns.schema}
        replace_file(self.out / MAPPING, (json.dumps({"mappings": {"properties": fields}, **self.settings()}, indent=1) + "\n").encode())
        return (MAPPING,)

    def vector_field(self, dim: int) -> dict[str, Any]:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        return {}


class Elasticsearch(_Bulk):
    """base64=true: vectors as base64 of big-endian float32, which Elasticsearch 9.3 and newer take, a third of the size."""

    limits = "elasticsearch"
    options: ClassVar[Mapping[str, str]] = {"index": "embeddings", "base64": "false"}

    def prepare(self) -> None:
        super().prepare()
        is_flag("base64", self.chosen["base64"])

    def vectors(self, part: Part) -> Iterator[str]:
        return (f'"{text}"' for text in base64_vectors(part.vectors)) if self.chosen["base64"] == "true" else number_lists(part.vectors)

    def vector_field(self, dim: int) -> dict[str, Any]:
        return {"type": "dense_vector", "dims": dim, "similarity": "cosine"}


class OpenSearch(_Bulk):
    limits = "opensearch"

    def vector_field(self, dim: int) -> dict[str, Any]:
        return {"type": "knn_vector", "dimension": dim, "space_type": "cosinesimil"}

    def settings(self) -> dict[str, Any]:
        return {"settings": {"index": {"knn": True}}}


def _field(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_temporal(kind) and not pa.types.is_time(kind) and not pa.types.is_duration(kind):
        return {"type": "date"}
    plain = kind.value_type if pa.types.is_list(kind) else kind
    if pa.types.is_unsigned_integer(plain) and plain.bit_width == 64:
        return {"type": "unsigned_long"}
    names = {"string": "keyword", "number": "long" if pa.types.is_integer(plain) else "double", "boolean": "boolean"}
    field = {"type": names.get(json_kind(plain), "object")}
    return field | ({"ignore_above": 8_191} if field["type"] == "keyword" else {})
