"""What an open `.mpk` and an open `.bpk` share: named leaves over a mapped file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.burn.record_tensor import RecordTensor
from embermill.encoder.weights.source import TensorInfo


class LeafSource:
    """A WeightSource over leaves: name -> (Burn's id or None, tensor), in file order."""

    def __init__(self, path: str, format: str, metadata: Mapping[str, str], leaves: dict[str, tuple[str | None, RecordTensor]]) -> None:
        self.path, self.format, self.metadata, self.leaves = path, format, metadata, leaves

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return {name: TensorInfo(name, leaf.dtype, leaf.array.shape, leaf.num_bytes, id) for name, (id, leaf) in self.leaves.items()}

    def read(self, name: str) -> np.ndarray:
        """[shape]; a view of the file (possibly unaligned) where it stores bytes, a decoded copy where it stores a number per element."""
        if name not in self.leaves:
            raise WeightsError("the file has no such tensor", file=self.path, tensor=name)
        return self.leaves[name][1].numpy()

    def close(self) -> None:
        """Lets go of the file; arrays already handed out keep it mapped for as long as they live."""
        self.leaves = {}
