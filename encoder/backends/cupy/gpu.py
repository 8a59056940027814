"""The current GPU, as a device: what CuPy and the driver say of it."""

from __future__ import annotations

import ctypes
import sys
import threading
from importlib.util import find_spec

from embermill.encoder.device import Device
from embermill.encoder.errors import DeviceError


def find_gpu() -> Device:
    """The current GPU as CuPy sees it. Raises DeviceError where there is none that can be used."""
    if find_spec("cupy") is None:
        raise DeviceError("device='gpu': CuPy is not installed; install the extra for your GPU (embermill[cuda12], [cuda13] or [rocm]), or use device='cpu'.")
    try:
        if "cupy" not in sys.modules:
            threading.Thread(target=_create_context, name="encoder-context").start()
        import cupy

        if cupy.cuda.runtime.getDeviceCount() < 1:
            raise DeviceError("device='gpu': CuPy sees no GPU; check nvidia-smi or rocm-smi and CUDA_VISIBLE_DEVICES, or use device='cpu'.")
        index = cupy.cuda.Device().id
        properties = cupy.cuda.runtime.getDeviceProperties(index)
    except DeviceError:
        raise
    except Exception as error:  # whatever a driver that is absent or broken raises: ImportError, OSError, CUDARuntimeError
        raise DeviceError(f"device='gpu': no usable GPU: {type(error).__name__}: {error}. Check the driver, or use device='cpu'.") from error
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


def _create_context() -> None:
    """NVIDIA's driver makes the context that CuPy will use, its first GPU's: a quarter of a second, beside the import of CuPy, which takes as long.

    CuPy makes it where this cannot, and says what is wrong. Not called where CuPy was imported before: its current GPU may be another one.
    """
    device, context = ctypes.c_int(), ctypes.c_void_p()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        if driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(device), 0) == 0:
            driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    except (OSError, AttributeError):
        pass


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _uuid(index: int, amd: bool) -> str:
    """GPU-xxxxxxxx-xxxx-…, as nvidia-smi prints it; of a part of a GPU (MIG) its own. "" where it cannot be had.

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
