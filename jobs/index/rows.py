"""A batch of rows as the rules see it, each measure taken once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.index.metadata_json import json_rows, json_text

BYTES_PER_NUMBER = 22  # of the longest number in JSON, and its comma
BYTES_PER_VALUE = 40  # of the longest time, in quotes
BYTES_BESIDE_DIGITS = 16  # of a decimal number: quotes, sign, point and exponent, or the zeros after a point
ESCAPED = 6  # bytes of JSON that one byte of text becomes at most


class Rows:
    """ids: [N], strings or integers. metadata: the columns that go into the index beside id and vector, under the names that they have there.
    vectors: [N, dim], None where they are not looked at. dim: counts for the size of a row, whether or not they are."""

    def __init__(self, ids: pa.Array, metadata: pa.RecordBatch, vectors: np.ndarray | None = None, dim: int = 0) -> None:
        self.ids, self.metadata, self.vectors = ids, metadata, vectors
        self.dim = dim if vectors is None else vectors.shape[1]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def id_texts(self) -> pa.Array:
        return self.ids if pa.types.is_string(self.ids.type) else self.ids.cast(pa.string())

    @cached_property
    def metadata_bound(self) -> np.ndarray:
        """[N] int64: bytes that the row's JSON does not exceed; cheap, where no column is nested."""
        bound = np.full(len(self), 2, np.int64)
        for field, column in zip(self.metadata.schema, self.metadata.columns, strict=True):
            bound += len(field.name.encode()) + 4
            if pa.types.is_nested(field.type):
                return self.metadata_bytes
            if pa.types.is_string(field.type) or pa.types.is_binary(field.type):
                bound += ESCAPED * pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False) + 2
            elif pa.types.is_decimal(field.type):
                bound += max(BYTES_PER_VALUE, field.type.precision + BYTES_BESIDE_DIGITS)
            else:
                bound += BYTES_PER_VALUE
        return bound

    @cached_property
    def metadata_bytes(self) -> np.ndarray:
        """[N] int64: of the row's compact JSON in UTF-8."""
        return np.fromiter((len(json_text(row).encode()) for row in json_rows(self.metadata)), np.int64, len(self))

    @property
    def vector_bytes(self) -> int:
        """Of one vector as JSON numbers, about."""
        return self.dim * BYTES_PER_NUMBER

    def strings(self) -> list[tuple[str, pa.Array]]:
        """(name, values) of the columns of text."""
        fields = zip(self.metadata.schema, self.metadata.columns, strict=True)
        return [(field.name, column) for field, column in fields if pa.types.is_string(field.type)]
