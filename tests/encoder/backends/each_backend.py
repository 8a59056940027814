"""The backends that one test body runs over. NumPy is always there; a GPU backend is skipped where there is no GPU."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from embermill.encoder.errors import DeviceError
from embermill.encoder.ops.base import Ops
from embermill.encoder.pipeline.batching import PackedBatch, pack


@dataclass(frozen=True)
class Backend:
    """A module with make_ops and a precision; `unit` is the relative rounding of what it stores between two operations.

    architecture: "compute_80" for what GPUs before Hopper run, compiled from PTX for the GPU that is here.
    """

    module: str
    precision: str
    unit: float
    architecture: str = ""

    def __str__(self) -> str:
        return f"{self.module}-{self.precision}"

    def open(self) -> Ops:
        if self.module == "cpu":
            from embermill.encoder.backends.cpu.ops import make_ops

            return make_ops("float32", 1)
        if find_spec("cupy") is None or find_spec(f"embermill.encoder.backends.{self.module}.ops") is None:
            pytest.skip(f"{self.module} or cupy is not here")
        from embermill.encoder.device import choose_device

        try:
            device = choose_device("gpu")
            device = device._replace(architecture=self.architecture or device.architecture)
            ops: Ops = import_module(f"embermill.encoder.backends.{self.module}.ops").make_ops(device, self.precision)
        except DeviceError as refusal:
            pytest.skip(str(refusal))
        return ops


BACKENDS = [
    Backend("cpu", "float32", 6e-8),
    pytest.param(Backend("cupy", "float32", 6e-8), marks=pytest.mark.gpu, id="cupy-float32"),
    pytest.param(Backend("cupy", "float16", 4.9e-4), marks=pytest.mark.gpu, id="cupy-float16"),
    pytest.param(Backend("cuda", "float16", 4.9e-4), marks=pytest.mark.gpu, id="cuda-float16"),
    pytest.param(Backend("cuda", "bfloat16", 3.9e-3), marks=pytest.mark.gpu, id="cuda-bfloat16"),
    pytest.param(Backend("cuda", "float16", 4.9e-4, "compute_80"), marks=pytest.mark.gpu, id="cuda-before-hopper-float16"),
    pytest.param(Backend("cuda", "bfloat16", 3.9e-3, "compute_80"), marks=pytest.mark.gpu, id="cuda-before-hopper-bfloat16"),
]


def random_batch(random: np.random.Generator, lengths: list[int], vocabulary: int, row_block: int, budget: int = 10**6) -> PackedBatch:
    """One packed batch of documents with these lengths and random token ids."""
    offsets = np.cumsum([0, *lengths])
    ids = random.integers(0, vocabulary, offsets[-1], dtype=np.int32)
    (batch,) = pack(ids, offsets, budget, row_block)
    return batch
