"""The compiled functions, found beside this file, and what this processor has of what they need."""

from __future__ import annotations

import ctypes
import logging
import os
from functools import cache
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

FEATURES = ("avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
"""In the order of the bits in kernels/features.c. "avx512" is F, BW, DQ and VL together."""
WITHOUT = "EMBERMILL_CPU_WITHOUT"
"""An environment variable: features that are not to be used, though they are there, separated by commas."""


class Product(ctypes.Structure):
    """`Product` of kernels/products.h."""

    _fields_ = [
        ("weight", ctypes.c_void_p),
        ("scale", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("columns", ctypes.c_int64),
        ("lines", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("activation", ctypes.c_int32),
    ]


@cache
def load_library() -> ctypes.CDLL | None:
    """None where it was not built, or does not load: then NumPy does the same."""
    for path in sorted(Path(__file__).parent.glob("_kernels*.so")):
        try:
            library = ctypes.CDLL(str(path))
        except OSError as error:
            log.info("%s does not load (%s)", path, error)
            continue
        for prefix in ("avx2", "avx512"):
            getattr(library, f"{prefix}_attention_scratch").restype = ctypes.c_int64
        return library
    return None


def processor_features() -> frozenset[str]:
    """What this processor has and its system lets us use, less what the environment forbids; nothing where the functions were not built."""
    library = load_library()
    bits = library.cpu_features() if library is not None else 0
    forbidden = {name.strip() for name in os.environ.get(WITHOUT, "").split(",")}
    return frozenset(name for place, name in enumerate(FEATURES) if bits >> place & 1) - forbidden


def address(array: np.ndarray, offset: int = 0) -> ctypes.c_void_p:
    """Where the array's memory is. The caller keeps it alive."""
    return ctypes.c_void_p(array.ctypes.data + offset)


def aligned(array: np.ndarray) -> np.ndarray:
    """A C-contiguous copy on a border of 64 bytes."""
    room = np.empty(array.nbytes + 64, np.uint8)
    first = -room.ctypes.data % 64
    copy: np.ndarray = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
