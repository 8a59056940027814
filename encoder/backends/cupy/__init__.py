"""The portable GPU backend: CuPy on CUDA and ROCm, with the kernels of kernels/."""

from __future__ import annotations

from embermill.encoder.backends.backend import Backend, Tuning
from embermill.encoder.device import Device
from embermill.encoder.ops.base import Ops


def find_device() -> Device:
    from embermill.encoder.backends.cupy.gpu import find_gpu

    return find_gpu()


def _make_ops(device: Device, precision: str, threads: int) -> Ops:
    from embermill.encoder.backends.cupy.ops import make_ops

    return make_ops(device, precision)


BACKEND = Backend(
    kind="gpu",
    precisions=("float16", "float32", "bfloat16"),
    tuning=Tuning(batches_per_window=1, tokenize_threads=2, short_switch_interval=True),
    find_device=find_device,
    runs=lambda device: True,
    make_ops=_make_ops,
)
