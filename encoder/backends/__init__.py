"""The backends, each a folder with a door: BACKEND in its __init__.py. The backend is chosen once; nothing below asks for a device, a vendor or a dtype again.

To add one: a folder here, and its name in BACKENDS.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from embermill.encoder.backends.backend import Backend, Tuning
from embermill.encoder.errors import DeviceError

if TYPE_CHECKING:
    from embermill.encoder.device import Device
    from embermill.encoder.ops.base import Ops

__all__ = ["BACKENDS", "Backend", "Tuning", "backend_of", "device_kinds", "get_ops", "precisions_of"]

log = logging.getLogger(__name__)

BACKENDS = (
    "cuda",
    "cupy",
    "cpu",
)
"""Folders. Of those that are for a device the first runs it, and "auto" takes the first device that is there."""


def backends_of_kind(kind: str) -> Iterator[Backend]:
    """Those for devices of one kind. Raises DeviceError for a kind that no backend has."""
    if kind not in device_kinds():
        raise DeviceError(f"device kind: expected one of {', '.join(device_kinds())}, got {kind!r}")
    return (backend for backend in _backends() if backend.kind == kind)


def device_kinds() -> tuple[str, ...]:
    """What `device=` may be beside "auto", in the order in which "auto" tries them."""
    return tuple(dict.fromkeys(backend.kind for backend in _backends()))


def precisions_of(kind: str) -> tuple[str, ...]:
    """Those of a kind of device, that of "auto" first."""
    return tuple(dict.fromkeys(precision for backend in backends_of_kind(kind) for precision in backend.precisions))


def backend_of(device: Device) -> Backend:
    """The backend that runs `device`. Raises DeviceError where none does."""
    found = next((backend for backend in backends_of_kind(device.kind) if backend.runs(device)), None)
    if found is None:
        raise DeviceError(f"no backend runs {device.name} ({device.vendor} {device.architecture}); use another device.")
    return found


def get_ops(device: Device, precision: str = "auto", threads: int | None = None) -> Ops:
    """The operations of the backend for `device` at `precision`; those that are not chosen are never imported.

    precision: "auto", "float32", "float16", "bfloat16", ... threads: worker threads on a CPU (None: all that the process may use); no GPU uses it.
    Raises DeviceError for a kind, precision or number of threads that this backend does not have.
    """
    from embermill.encoder.device import resolve_precision, usable_threads

    backend = backend_of(device)
    ops = backend.make_ops(device, resolve_precision(precision, device.kind), usable_threads() if threads is None else threads)
    if ops.chosen:
        log.info("%s", ops.chosen)
    return ops


def _backends() -> Iterator[Backend]:
    return (import_module(f"embermill.encoder.backends.{name}").BACKEND for name in BACKENDS)
