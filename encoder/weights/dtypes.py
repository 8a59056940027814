"""Element types by name: one table for every weight format.

The names are those that SafeTensors and Burn share ("F32", "BF16", "I64", ...); booleans are "BOOL", as SafeTensors spells them.
Data are little-endian in every format that stores them as bytes.
"""

from __future__ import annotations

import numpy as np

_DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("|i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("|u1"),
    "BOOL": np.dtype("|b1"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

FLOATS = ("F64", "F32", "F16", "BF16")
INTEGERS = ("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8")
KNOWN = (*_DTYPES, "BF16")


def numpy_dtype(name: str) -> np.dtype | None:
    """The NumPy type that holds `name`, or None for a name that is not in KNOWN."""
    return element_dtype(name) if name in KNOWN else None


def element_dtype(name: str) -> np.dtype:
    """The NumPy type of a name in KNOWN; raises KeyError for others."""
    if name == "BF16":
        import ml_dtypes  # only where a file holds bfloat16: NumPy has no such type of its own

        bfloat16: np.dtype = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return _DTYPES[name]


def dtype_name(dtype: np.dtype) -> str:
    """The name under which weight formats know a NumPy type; raises KeyError for one that they do not know."""
    return "BF16" if dtype.name == "bfloat16" else _NAMES[dtype.newbyteorder("<")]


def raw_bytes(array: np.ndarray) -> memoryview:
    """The elements of `array`, row-major and little-endian, as bytes; copies only what does not lie so already."""
    little = np.ascontiguousarray(array, element_dtype(dtype_name(array.dtype)))
    return little.reshape(-1).view("|u1").data
