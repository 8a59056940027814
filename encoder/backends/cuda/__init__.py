"""What NVIDIA GPUs do better than the portable backend, from Hopper on."""

from __future__ import annotations

from embermill.encoder.backends import cupy
from embermill.encoder.device import Device
from embermill.encoder.ops.base import Ops

HOPPER = 90
"""The first compute capability whose kernels this backend holds."""


def _runs(device: Device) -> bool:
    return device.vendor == "nvidia" and _compute_capability(device.architecture) >= HOPPER


def _compute_capability(architecture: str) -> int:
    """sm_90, sm_90a, 90 or 9.0 to 90; 0 when it says nothing of the kind."""
    digits = "".join(character for character in architecture if character.isdigit())
    return int(digits) if digits else 0


def _make_ops(device: Device, precision: str, threads: int) -> Ops:
    from embermill.encoder.backends.cuda.ops import make_ops

    return make_ops(device, precision)


BACKEND = cupy.BACKEND._replace(runs=_runs, make_ops=_make_ops)
