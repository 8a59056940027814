"""The CPU backend: NumPy on any processor; compiled functions for float32, bfloat16 and int8 where there are some for it."""

from __future__ import annotations

from embermill.encoder.backends.backend import Backend, Tuning
from embermill.encoder.device import Device
from embermill.encoder.ops.base import Ops


def _find_device() -> Device:
    from embermill.encoder.backends.cpu.processor import find_processor

    return find_processor()


def _make_ops(device: Device, precision: str, threads: int) -> Ops:
    from embermill.encoder.backends.cpu.opening import make_ops

    return make_ops(precision, threads)


BACKEND = Backend(
    kind="cpu",
    precisions=("float32", "bfloat16", "int8", "float32-numpy"),
    tuning=Tuning(batches_per_window=16, tokenize_threads=1, short_switch_interval=False),
    find_device=_find_device,
    runs=lambda device: True,
    make_ops=_make_ops,
)
