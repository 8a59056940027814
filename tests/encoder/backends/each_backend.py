"""The backends that one test body runs over. NumPy is always there; a GPU backend is skipped where there is no GPU."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from embermill.encoder.backends.cpu.compiled.library import load_library, processor_features
from embermill.encoder.backends.cpu.compiled.paths import PATHS
from embermill.encoder.backends.cpu.ops import NumpyOps
from embermill.encoder.errors import DeviceError
from embermill.encoder.ops.base import Ops
from embermill.encoder.pipeline.batching import PackedBatch, pack


@dataclass(frozen=True)
class Backend:
    """A module with make_ops and a precision; `unit` is the relative rounding of what it stores between two operations.

    architecture: "compute_80" for what GPUs before Hopper run, compiled from PTX for the GPU that is here. Of a CPU one of PATHS, or "NumPy".
    """

    module: str
    precision: str
    unit: float
    architecture: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.module, self.precision, self.architecture)))

    def open(self) -> Ops:
        if self.module == "cpu":
            return open_cpu(self.precision, self.architecture)
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


def open_cpu(precision: str, path: str, threads: int = 1) -> NumpyOps:
    """The CPU backend on this path; skips where the processor cannot run it, or nothing was compiled."""
    from embermill.encoder.backends.cpu.path_ops import PathOps

    if not path:
        return NumpyOps(threads)
    if path == "NumPy":
        return PathOps(precision, threads, frozenset())
    wanted = next(each for each in PATHS if each.name == path)
    if platform.machine() == "x86_64" and load_library() is None:
        pytest.skip("the compiled functions are not built: install a C compiler, then `pip install --no-build-isolation --no-deps -e .`")
    if not wanted.needs <= processor_features():
        pytest.skip(f"this processor cannot run {path}: it needs {', '.join(sorted(wanted.needs))}")
    ops = PathOps(precision, threads, wanted.needs)
    assert ops.path.name == path
    return ops


ALL_CPU_PATHS = [
    ("float32", "avx2_f32"),
    ("bfloat16", "NumPy"),
    ("bfloat16", "avx512_bf16"),
    ("bfloat16", "amx_bf16"),
    ("int8", "NumPy"),
    ("int8", "avx2_int8"),
    ("int8", "vnni_int8"),
    ("int8", "amx_int8"),
]
_TOO_MUCH = {path.name for path in PATHS if load_library() is not None and not path.needs <= processor_features()}
CPU_PATHS = [each for each in ALL_CPU_PATHS if each[1] not in _TOO_MUCH]
"""Those that this processor can run: cpu/test_paths.py skips once for each of the others."""
# There a product rounds what it is given as well as its weights: to a half of 255 steps over a row's range, to 120 at most of a weight.
CPU_UNITS = {"float32": 6e-8, "bfloat16": 2 * 3.9e-3, "int8": 0.06}

BACKENDS = [
    Backend("cpu", "float32", 6e-8),
    *(
        pytest.param(Backend("cpu", precision, CPU_UNITS[precision], path), marks=[pytest.mark.long] * (precision != "float32"), id=f"{precision}-{path}")
        for precision, path in CPU_PATHS
    ),
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
