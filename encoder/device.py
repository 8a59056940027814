"""The device: asked once, then passed along. And the processor time that this process may use."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import NamedTuple

from embermill.encoder.backends import backends_of_kind, device_kinds, precisions_of
from embermill.encoder.errors import DeviceError

log = logging.getLogger(__name__)

PRECISIONS = ("auto", "float32", "float16", "bfloat16", "int8", "fp8")


class Device(NamedTuple):
    """What computes. vendor: "nvidia", "amd" or the processor's. architecture: "sm_90", "gfx942", "x86_64". compute_units: multiprocessors, or usable cores."""

    kind: str  # "cpu" or "gpu"
    vendor: str
    name: str
    architecture: str
    compute_units: int
    memory_bytes: int
    uuid: str = ""  # of a GPU; a CPU has none


def choose_device(wanted: str = "auto") -> Device:
    """The device for "auto" (the first kind of which there is one: a GPU where CuPy and a usable GPU are, else the CPU), "cpu" or "gpu". Raises DeviceError."""
    kinds = device_kinds()
    if wanted not in ("auto", *kinds):
        raise DeviceError(f"device={wanted!r}: expected one of auto, {', '.join(sorted(kinds))}.")
    *others, last = kinds if wanted == "auto" else (wanted,)
    for kind in others:
        try:
            return _find(kind)
        except DeviceError as error:
            log.info("using another device than a %s: %s", kind.upper(), error)
    return _find(last)


def _find(kind: str) -> Device:
    return next(backends_of_kind(kind)).find_device()


def resolve_precision(wanted: str, kind: str) -> str:
    """What `precision` means on this kind of device: "auto" is float32 on a CPU and float16 on a GPU. Raises DeviceError for what does not exist."""
    available = precisions_of(kind)
    if wanted == "auto":
        return available[0]
    if wanted not in (*PRECISIONS, *available):
        raise DeviceError(f"precision={wanted!r}: expected one of {', '.join(PRECISIONS)}.")
    if wanted not in available:
        raise DeviceError(f"precision={wanted!r} does not exist on a {kind.upper()} in this version; available are auto, {', '.join(available)}.")
    return wanted


def usable_threads() -> int:
    """Cores that this process may keep busy: its affinity, or fewer where a control group allows less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _cgroup_cores(cores)))


def _cgroup_cores(otherwise: int) -> int:
    """CPU bandwidth limit of a container (cgroup v2, then v1), rounded up to whole cores."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota, period = (Path("/sys/fs/cgroup/cpu", name).read_text().strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        except OSError:
            return otherwise
    limited = quota.isdigit() and period.isdigit() and int(period) > 0
    return math.ceil(int(quota) / int(period)) if limited and int(quota) > 0 else otherwise
