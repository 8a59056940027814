"""From one floating-point type to another, refusing what would not survive."""

from __future__ import annotations

import numpy as np

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.dtypes import element_dtype

_LARGEST = {"F16": 65_504.0, "F32": float(np.finfo(np.float32).max)}


def cast(array: np.ndarray, dtype: str, file: str, tensor: str) -> np.ndarray:
    """`array` as `dtype`; itself where it is that already. Raises WeightsError for values that `dtype` cannot hold (infinities included, NaN excepted)."""
    target = element_dtype(dtype)
    if array.dtype == target:
        return array
    largest = _LARGEST.get(dtype)
    if largest is not None and array.dtype.itemsize >= target.itemsize and array.size:
        with np.errstate(invalid="ignore"):
            worst = float(np.fmax.reduce(np.abs(array.astype(np.float32) if array.dtype.itemsize < 4 else array), axis=None, initial=0))
        if worst > largest:
            raise WeightsError(f"holds {worst:,.8g}, but {dtype} ends at {largest:,.8g}; convert with --precision full", file=file, tensor=tensor)
    with np.errstate(invalid="ignore", under="ignore"):
        return array.astype(target)
