"""StoredVector: the form of one column of vectors in a dataset, as plan, footer and manifest have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.counts import several
from embermill.jobs.bookkeeping.stored_keys import added, describe_change, stored_form
from embermill.jobs.engine import Output

FLOAT32, FLOAT16, INT8, UBINARY = "float32", "float16", "int8", "ubinary"
DTYPES = (FLOAT32, FLOAT16, INT8, UBINARY)
BITS = {FLOAT32: 32, FLOAT16: 16, INT8: 8, UBINARY: 1}
SYMMETRIC, SENTENCE_TRANSFORMERS, MSB = "symmetric", "sentence-transformers", "msb"
PACKINGS = ("", SYMMETRIC, SENTENCE_TRANSFORMERS, MSB)
_NUMPY: dict[str, type[np.generic]] = {FLOAT32: np.float32, FLOAT16: np.float16, INT8: np.int8, UBINARY: np.uint8}
_ARROW = {FLOAT32: pa.float32(), FLOAT16: pa.float16(), INT8: pa.int8(), UBINARY: pa.uint8()}
Ranges = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class StoredVector:
    """One column of vectors. source: the engine's column that it is made from. dim: numbers of a vector; for ubinary, bits.

    packing: how codes stand for numbers: "" (they are the numbers), "symmetric" (int8: number = code * scale), "sentence-transformers" (int8, from the
    least and greatest number of each dimension), "msb" (ubinary: 1 for a number above 0, the first of eight in the most significant bit).
    scale: of symmetric codes. ranges: [2, dim] of the others. unit: a vector that is cut to fewer dimensions is brought to length 1 again.
    layer_norm_eps: of a LayerNorm that a vector goes through before it is cut; None: there is none.
    """

    column: str
    source: str
    dtype: str
    dim: int
    packing: str = ""
    scale: float | None = added(None)
    ranges: tuple[tuple[float, ...], tuple[float, ...]] | None = added(None)
    unit: bool = added(False)
    layer_norm_eps: float | None = added(None)

    @property
    def width(self) -> int:
        """Values of a stored vector."""
        return self.dim // 8 if self.dtype == UBINARY else self.dim

    @property
    def row_bytes(self) -> int:
        return self.dim * BITS[self.dtype] // 8

    @property
    def numpy_type(self) -> type[np.generic]:
        return _NUMPY[self.dtype]

    @property
    def arrow_type(self) -> pa.DataType:
        """A list of fixed size; its values are required, so no level is kept for values that are never null."""
        return pa.list_(pa.field("element", _ARROW[self.dtype], nullable=False), self.width)

    @property
    def is_measured(self) -> bool:
        """Whether nothing is left to be measured before it can be written."""
        return (self.packing != SYMMETRIC or self.scale is not None) and (self.packing != SENTENCE_TRANSFORMERS or self.ranges is not None)

    def to_json(self) -> dict[str, Any]:
        return stored_form(self)


def stored_vectors(outputs: Sequence[Output], vectors: Sequence[StoredVector]) -> tuple[StoredVector, ...]:
    """vectors: of a plan; where it says none, each output is a column of float32 under its own name."""
    return tuple(vectors) or tuple(StoredVector(output.column, output.column, FLOAT32, output.dim) for output in outputs)


def from_json(entry: Mapping[str, Any]) -> StoredVector:
    """The inverse of to_json. ValueError or TypeError where it is none."""
    found = {**entry}
    if found.get("ranges") is not None:
        low, high = found["ranges"]
        found["ranges"] = (tuple(map(float, low)), tuple(map(float, high)))
    vector = StoredVector(**found)
    if vector.dtype not in DTYPES or vector.packing not in PACKINGS or (vector.dtype == UBINARY and vector.dim % 8):
        raise ValueError(f"column {vector.column[:80]!r}: {vector.dtype!r:.40} of {vector.dim} numbers, packing {vector.packing!r:.40}: not a form of vectors")
    if not vector.is_measured or (vector.ranges is not None and any(len(bound) != vector.dim for bound in vector.ranges)):
        raise ValueError(f"column {vector.column[:80]!r}: its scale or its ranges are missing, or not of {several(vector.dim, 'dimension')}")
    return vector


def form_changes(old: Sequence[StoredVector], new: Sequence[StoredVector]) -> list[str]:
    """ "embedding: dtype: float32 -> float16" for everything in which two sets of columns differ.

    A scale or ranges that `new` has not measured are no change.
    """
    mine, theirs = ({vector.column: vector for vector in side} for side in (old, new))
    changes = []
    for column in [*mine, *(name for name in theirs if name not in mine)]:
        if column not in theirs or column not in mine:
            changes.append(describe_change(column, *("not stored" if vector is None else words(vector) for vector in (mine.get(column), theirs.get(column)))))
            continue
        before, after = vars(mine[column]), vars(theirs[column])
        for key in before:
            unmeasured = key in ("scale", "ranges") and after[key] is None and mine[column].packing == theirs[column].packing
            if before[key] != after[key] and not unmeasured:
                shown = ("other ranges", "these ranges") if key == "ranges" else (before[key], after[key])
                changes.append(f"{column}: {describe_change(_NAMES.get(key, key), *shown)}")
    if not changes and [*mine] != [*theirs]:
        changes.append(describe_change("order of the columns of vectors", ", ".join(mine), ", ".join(theirs)))
    return changes


_NAMES = {"dim": "dimensions", "unit": "normalized after the cut", "layer_norm_eps": "LayerNorm before the cut"}


def words(vector: StoredVector) -> str:
    """ "int8[384], scale 0.0016"."""
    scale = "" if vector.scale is None else f", scale {vector.scale:.6g}"
    ranges = "" if vector.packing != SENTENCE_TRANSFORMERS else ", ranges of sentence-transformers"
    return f"{vector.dtype}[{vector.dim}]{scale}{ranges}"
