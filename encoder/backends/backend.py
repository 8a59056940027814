"""What a backend says of itself at its door, before anything of it is loaded: which devices it runs, in which precisions, and how they are kept busy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from embermill.encoder.device import Device
    from embermill.encoder.ops.base import Ops


class Tuning(NamedTuple):
    """How the encoder feeds a device.

    batches_per_window: packed batches that are cut together, documents sorted to fill blocks; 1 where a device computes any mixture alike.
    tokenize_threads: beside those that compute. short_switch_interval: the interpreter switches threads more often
    while a batch is in flight, for a device that waits for the threads that feed it.
    """

    batches_per_window: int
    tokenize_threads: int
    short_switch_interval: bool


class Backend(NamedTuple):
    """BACKEND of a folder of embermill.encoder.backends. Calling its functions may import what the backend needs; reading it imports nothing.

    kind: what `device=` calls such devices. precisions: that of "auto" first. find_device: the device of this process; raises DeviceError where
    there is none. runs: whether the backend is for a device of its kind. make_ops: (device, precision, threads of the CPU) to its operations.
    """

    kind: str
    precisions: tuple[str, ...]
    tuning: Tuning
    find_device: Callable[[], Device]
    runs: Callable[[Device], bool]
    make_ops: Callable[[Device, str, int], Ops]
