"""What NVIDIA GPUs from compute capability 8.0 on (A100, A10, L4, RTX 30 and later) do better than the portable backend."""

from __future__ import annotations

from embermill.encoder.backends import cupy
from embermill.encoder.device import Device
from embermill.encoder.ops.base import Ops


def _runs(device: Device) -> bool:
    from embermill.encoder.backends.cupy.choice import FIRST, compute_capability

    return device.vendor == "nvidia" and compute_capability(device.architecture) >= FIRST


def _make_ops(device: Device, precision: str, threads: int) -> Ops:
    from embermill.encoder.backends.cuda.ops import make_ops

    return make_ops(device, precision)


BACKEND = cupy.BACKEND._replace(runs=_runs, make_ops=_make_ops)
