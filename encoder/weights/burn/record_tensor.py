"""A tensor inside a Burn record: where it lies, and what Burn calls its element type."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.dtypes import KNOWN, dtype_name, element_dtype
from embermill.encoder.weights.mapped_file import Buffer

_BOOLEANS = {"Native": "BOOL", "U8": "U8", "U32": "U32"}  # how Burn >= 0.21 stores a boolean tensor


class RecordTensor:
    """One tensor of a record.

    array: its elements, [shape], most often a view of the mapped file (any strides, big-endian where a scalar era stored it so).
    scalars: True for Burn < 0.14, which stores one MessagePack number per element; False for raw bytes.
    spelling: the `dtype` entry as Burn wrote it ("F32", "Flex32", {"Bool": "Native"}). offset: where its data start in the file.
    """

    __slots__ = ("array", "dtype", "offset", "scalars", "spelling")

    def __init__(self, array: np.ndarray, dtype: str, *, scalars: bool = False, spelling: Any = None, offset: int | None = None) -> None:
        self.array, self.dtype, self.scalars, self.spelling, self.offset = array, dtype, scalars, spelling, offset

    @classmethod
    def of(cls, array: np.ndarray) -> RecordTensor:
        """A tensor to be written; any strides."""
        return cls(array, dtype_name(array.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def num_bytes(self) -> int:
        return int(self.array.nbytes)

    def load(self) -> np.ndarray:
        return self.array

    def numpy(self) -> np.ndarray:
        """[shape], little-endian; a read-only view where the file holds the elements as they are, else a copy."""
        native = element_dtype(self.dtype)
        return self.array if self.array.dtype == native else self.array.astype(native)

    def __eq__(self, other: object) -> bool:
        """Equal bits, shape, type and manner of storing; where it lies does not count."""
        if not isinstance(other, RecordTensor):
            return NotImplemented
        same_form = (self.dtype, self.scalars, self.spelling or self.dtype) == (other.dtype, other.scalars, other.spelling or other.dtype)
        return same_form and self.array.shape == other.array.shape and self.numpy().tobytes() == other.numpy().tobytes()


class TensorToWrite(NamedTuple):
    """A tensor that a writer asks for when its turn comes, so that only one is in memory at a time. load: gives [shape] of `dtype`, any strides."""

    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]

    @property
    def spelling(self) -> None:
        """Burn's usual one for `dtype`."""
        return None

    @property
    def num_bytes(self) -> int:
        return prod(self.shape) * element_dtype(self.dtype).itemsize


def stored_type(spelling: Any, file: str, offset: int, tensor: str) -> str:
    """The element type behind Burn's `dtype` entry. Raises WeightsError for quantised and unknown ones."""
    name = spelling
    if isinstance(spelling, dict) and len(spelling) == 1:
        ((name, detail),) = spelling.items()
        if name == "Bool" and detail is not None:
            name = _BOOLEANS.get(detail) if isinstance(detail, str) else None
    if name == "QFloat":
        problem = "the tensor is quantised (QFloat); load it with the Burn version that wrote it, dequantise it, and save it as F32 or F16"
        raise WeightsError(problem, file=file, offset=offset, tensor=tensor)
    name = {"Bool": "BOOL", "Flex32": "F32"}.get(name, name) if isinstance(name, str) else ""
    if name not in KNOWN:
        raise WeightsError(f"unknown element type {str(spelling)[:80]}; known are {', '.join(KNOWN)}", file=file, offset=offset, tensor=tensor)
    return name


def view(data: Buffer, offset: int, length: int, dtype: str, shape: Any, file: str, tensor: str) -> np.ndarray:
    """[shape] over data[offset : offset + length], read-only. Raises WeightsError when shape and length do not agree."""
    item = element_dtype(dtype)
    if not is_shape(shape):
        raise WeightsError(f"the shape {str(shape)[:200]} is not a list of sizes", file=file, offset=offset, tensor=tensor)
    needed = prod(shape) * item.itemsize
    if needed != length:
        raise WeightsError(f"shape {shape_text(shape)} of {dtype} needs {needed:,} bytes but {length:,} are stored", file=file, offset=offset, tensor=tensor)
    try:
        return np.ndarray(tuple(shape), item, data, offset)
    except (ValueError, TypeError, OverflowError):  # more dimensions, or larger ones, than an array can have
        raise WeightsError(f"the shape {shape_text(shape)} is beyond what an array can have", file=file, offset=offset, tensor=tensor) from None


def is_shape(value: Any) -> TypeGuard[list[int]]:
    """A list of sizes: integers (no booleans), none negative."""
    return isinstance(value, list) and all(type(size) is int and size >= 0 for size in value)


def shape_text(shape: list[int] | tuple[int, ...]) -> str:
    """[2, 3], shortened where a damaged file claims hundreds of dimensions."""
    text = str(list(shape))
    return text if len(text) <= 120 else text[:117] + "..."
