"""The device: asked once, then passed along. And the processor time that this process may use."""

from __future__ import annotations

import ctypes
import logging
import math
import os
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from embermill.encoder.errors import DeviceError

log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "float32", "float16", "bfloat16", "int8", "fp8")
_CPU_PRECISIONS = ("float32",)
_GPU_PRECISIONS = ("float32", "float16", "bfloat16")


class Device(NamedTuple):
    """What computes. vendor: "nvidia", "amd" or the processor's. architecture: "sm_90", "gfx942", "x86_64". compute_units: multiprocessors, or usable cores."""

    kind: str  # "cpu" or "gpu"
    vendor: str
    name: str
    architecture: str
    compute_units: int
    memory_bytes: int
    uuid: str = ""  # of a card; a CPU has none


def choose_device(wanted: str = "auto") -> Device:
    """The device for "auto" (a GPU where CuPy and a usable card are, else the CPU), "cpu" or "gpu". Raises DeviceError."""
    if wanted not in DEVICES:
        raise DeviceError(f"device={wanted!r}: expected one of {', '.join(DEVICES)}.")
    if wanted == "cpu":
        return _cpu()
    try:
        return _gpu()
    except DeviceError as error:
        if wanted == "gpu":
            raise
        log.info("using the CPU: %s", error)
        return _cpu()


def resolve_precision(wanted: str, device_kind: str) -> str:
    """What `precision` means on this kind of device: "auto" is float32 on a CPU and float16 on a GPU. Raises DeviceError for what does not exist."""
    if wanted not in PRECISIONS:
        raise DeviceError(f"precision={wanted!r}: expected one of {', '.join(PRECISIONS)}.")
    if wanted == "auto":
        return "float32" if device_kind == "cpu" else "float16"
    available = _CPU_PRECISIONS if device_kind == "cpu" else _GPU_PRECISIONS
    if wanted not in available:
        raise DeviceError(f"precision={wanted!r} does not exist on a {device_kind.upper()} in this version; available are auto, {', '.join(available)}.")
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


def _cpu() -> Device:
    fields = _first_processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    name = fields.get("model name") or _processor() or "CPU"
    return Device("cpu", fields.get("vendor_id", ""), name, os.uname().machine, usable_threads(), memory)


def _processor() -> str:
    """What the system calls it, for want of /proc/cpuinfo or of a name there."""
    import platform  # starts a process to find out

    return platform.processor()


def _first_processor() -> dict[str, str]:
    try:
        block = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}


def _gpu() -> Device:
    """The current card as CuPy sees it."""
    if find_spec("cupy") is None:
        raise DeviceError("device='gpu': CuPy is not installed; install the extra for your card (embermill[cuda12], [cuda13] or [rocm]), or use device='cpu'.")
    try:
        import cupy

        if cupy.cuda.runtime.getDeviceCount() < 1:
            raise DeviceError("device='gpu': CuPy sees no card; check nvidia-smi or rocm-smi and CUDA_VISIBLE_DEVICES, or use device='cpu'.")
        index = cupy.cuda.Device().id
        properties = cupy.cuda.runtime.getDeviceProperties(index)
    except DeviceError:
        raise
    except Exception as error:  # whatever a driver that is absent or broken raises: ImportError, OSError, CUDARuntimeError
        raise DeviceError(f"device='gpu': no usable card: {type(error).__name__}: {error}. Check the driver, or use device='cpu'.") from error
    amd = bool(cupy.cuda.runtime.is_hip)
    architecture = _text(properties.get("gcnArchName", b"")).split(":")[0] if amd else f"sm_{properties['major']}{properties['minor']}"
    return Device(
        "gpu",
        "amd" if amd else "nvidia",
        _text(properties["name"]),
        architecture,
        int(properties["multiProcessorCount"]),
        int(properties["totalGlobalMem"]),
        _uuid(index, amd),
    )


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _uuid(index: int, amd: bool) -> str:
    """GPU-xxxxxxxx-xxxx-…, as nvidia-smi prints it; of a part of a card (MIG) its own. "" where it cannot be had.

    Asked of the driver: CuPy's own copy ends at the first zero byte.
    """
    get, get_uuid = ("hipDeviceGet", "hipDeviceGetUuid") if amd else ("cuDeviceGet", "cuDeviceGetUuid_v2")
    device, raw = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    try:
        driver = ctypes.CDLL("libamdhip64.so" if amd else "libcuda.so.1")
        if getattr(driver, get)(ctypes.byref(device), index) or getattr(driver, get_uuid)(raw, device):
            return ""
    except (OSError, AttributeError):
        return ""
    digits = bytes(raw).hex()
    return "GPU-" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
