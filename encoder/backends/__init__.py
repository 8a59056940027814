"""`get_ops`: choose the backend once, at the door. Nothing below asks for a device, a vendor or a dtype again."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from embermill.encoder.errors import DeviceError

if TYPE_CHECKING:
    from embermill.encoder.ops.base import Ops

__all__ = ["DeviceFacts", "get_ops"]

HOPPER = 90
"""The first compute capability whose kernels `cuda` holds."""


class DeviceFacts(Protocol):
    """What choosing a backend needs to know of `encoder.device.Device`."""

    @property
    def kind(self) -> str:
        """"cpu" or "gpu"."""
        ...

    @property
    def vendor(self) -> str:
        """"nvidia", "amd", or the processor's."""
        ...

    @property
    def architecture(self) -> str:
        """"sm_90", "gfx942", "x86_64", ..."""
        ...


def get_ops(device: DeviceFacts, precision: str = "auto", threads: int | None = None) -> Ops:
    """The backend for `device` at `precision`; backends that are not chosen are never imported.

    precision: "auto", "float32", "float16", "bfloat16", ... threads: worker threads on a CPU (None: all that the process may use); no GPU uses it.
    Raises DeviceError for a kind, precision or number of threads that this backend does not have.
    """
    if device.kind == "cpu":
        from embermill.encoder.backends.cpu.ops import make_ops
        from embermill.encoder.device import usable_threads

        return make_ops(precision, usable_threads() if threads is None else threads)
    if device.kind != "gpu":
        raise DeviceError(f'device kind: expected "cpu" or "gpu", got "{device.kind}"')
    module = "cuda" if device.vendor == "nvidia" and _compute_capability(device.architecture) >= HOPPER else "cupy"
    backend = f"embermill.encoder.backends.{module}.ops"
    ops: Ops = import_module(backend).make_ops(device, precision)
    return ops


def _compute_capability(architecture: str) -> int:
    """"sm_90", "sm_90a", "90" or "9.0" to 90; 0 when it says nothing of the kind."""
    digits = "".join(character for character in architecture if character.isdigit())
    return int(digits) if digits else 0
