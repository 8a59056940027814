"""WeightSource: what every weight format looks like once it is open.

A source names its tensors and hands them out one at a time as NumPy views of the mapped file; nothing is read until asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np


class TensorInfo(NamedTuple):
    """One tensor of a file, known from its header alone."""

    name: str
    dtype: str  # "F32", "F16", "BF16", "F64", "I64", ...: SafeTensors' and Burn's own spelling
    shape: tuple[int, ...]
    num_bytes: int
    id: str | None = None  # Burn's parameter id, where the format has one


class WeightSource(Protocol):
    """An open weight file (or a sharded set of them).

    `format`: "safetensors", "mpk", "mpk.gz" or "bpk". `metadata`: the file's own strings. `tensors`: name -> TensorInfo in file order.
    `read(name)`: the tensor as a NumPy array, a read-only view of the mapped file where the format allows it (possibly unaligned,
    possibly a transposed view). BF16 comes as ml_dtypes.bfloat16. Raises WeightsError for an unknown name or damaged data.
    """

    @property
    def path(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, str]: ...
    @property
    def tensors(self) -> Mapping[str, TensorInfo]: ...
    def read(self, name: str) -> np.ndarray: ...
    def close(self) -> None: ...


class RenamedSource:
    """A source under other names: what a name table makes of it. `names`: new name -> (old name, transpose)."""

    def __init__(self, source: WeightSource, names: Mapping[str, tuple[str, bool]]) -> None:
        self.source, self.names = source, names
        self.path, self.format, self.metadata = source.path, source.format, source.metadata
        self.tensors: Mapping[str, TensorInfo] = {new: _renamed(source.tensors[old], new, transpose) for new, (old, transpose) in names.items()}

    def read(self, name: str) -> np.ndarray:
        old, transpose = self.names[name]
        array = self.source.read(old)
        return array.T if transpose else array

    def close(self) -> None:
        self.source.close()


def _renamed(info: TensorInfo, name: str, transpose: bool) -> TensorInfo:
    return info._replace(name=name, shape=info.shape[::-1] if transpose else info.shape)
