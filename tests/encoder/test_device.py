"""Devices as they are asked for and as they are found; the GPU is a stand-in with CuPy's face."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from embermill.encoder import device
from embermill.encoder.backends.cupy import gpu
from embermill.encoder.device import choose_device, resolve_precision, usable_threads
from embermill.encoder.errors import DeviceError

CONTEXT_MADE = threading.Event()
CUPY = """
from types import SimpleNamespace
from tests.encoder.test_device import CONTEXT_MADE
assert CONTEXT_MADE.wait(30), "the context is not made while CuPy is imported"
properties = {"name": b"NVIDIA H200", "major": 9, "minor": 0, "multiProcessorCount": 132, "totalGlobalMem": 1 << 37}
runtime = SimpleNamespace(getDeviceCount=lambda: 1, getDeviceProperties=lambda index: properties, is_hip=False)
cuda = SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(id=0))
"""


class Driver:
    """libcuda, or libamdhip64: GPU 0 has the bytes 0, 1, 2, ... for its UUID."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cuInit(self, flags: int) -> int:
        return flags

    def cuDevicePrimaryCtxRetain(self, context: object, device: object) -> int:
        CONTEXT_MADE.set()
        return 0

    def cuDeviceGet(self, handle: object, index: int) -> int:
        return 0 if index == 0 else 101

    def cuDeviceGetUuid_v2(self, raw: bytearray, handle: object) -> int:
        raw[:] = bytes(range(16))
        return 0

    hipDeviceGet, hipDeviceGetUuid = cuDeviceGet, cuDeviceGetUuid_v2


def install_cupy(monkeypatch: pytest.MonkeyPatch, *, count: int = 1, hip: bool = False, fault: Exception | None = None) -> None:
    def device_count() -> int:
        if fault:
            raise fault
        return count

    sizes = {"multiProcessorCount": 132, "totalGlobalMem": 1 << 37}
    properties = {"name": b"NVIDIA H200", "major": 9, "minor": 0, "gcnArchName": b"gfx942:sramecc+:xnack-"} | sizes
    runtime = SimpleNamespace(getDeviceCount=device_count, getDeviceProperties=lambda index: properties, is_hip=hip)
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(id=0)), __spec__=SimpleNamespace(name="cupy"))
    monkeypatch.setitem(sys.modules, "cupy", cupy)  # type: ignore[arg-type]
    monkeypatch.setattr(gpu.ctypes, "CDLL", Driver)  # type: ignore[attr-defined]


def test_the_cpu() -> None:
    found = choose_device("cpu")
    assert found.kind == "cpu" and found.compute_units == usable_threads() >= 1 and found.memory_bytes > 1 << 28 and found.architecture and found.uuid == ""


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    install_cupy(monkeypatch)
    found = choose_device("auto")
    assert (found.kind, found.vendor, found.name, found.architecture, found.compute_units) == ("gpu", "nvidia", "NVIDIA H200", "sm_90", 132)
    assert found.memory_bytes == 1 << 37 and found.uuid == "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_the_context_is_made_while_cupy_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    CONTEXT_MADE.clear()
    monkeypatch.setattr(gpu.ctypes, "CDLL", Driver)  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "cupy.py").write_text(CUPY)
    try:
        assert choose_device("gpu").architecture == "sm_90"
    finally:
        sys.modules.pop("cupy", None)


def test_no_context_is_made_where_cupy_may_have_another_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    CONTEXT_MADE.clear()
    install_cupy(monkeypatch)
    before = set(threading.enumerate())
    choose_device("gpu")
    assert set(threading.enumerate()) <= before and not CONTEXT_MADE.is_set()


def test_an_amd_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install_cupy(monkeypatch, hip=True)
    found = choose_device("gpu")
    assert (found.vendor, found.architecture) == ("amd", "gfx942") and found.uuid.startswith("GPU-0001")


@pytest.mark.parametrize(
    ("arguments", "message"), [({"count": 0}, "CuPy sees no GPU"), ({"fault": RuntimeError("no driver")}, "no usable GPU: RuntimeError: no driver")]
)
def test_no_usable_gpu(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, object], message: str) -> None:
    install_cupy(monkeypatch, **arguments)  # type: ignore[arg-type]
    assert choose_device("auto").kind == "cpu"
    with pytest.raises(DeviceError, match=message):
        choose_device("gpu")


def test_no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "find_spec", lambda name: None)
    assert choose_device("auto").kind == "cpu"
    with pytest.raises(DeviceError, match="CuPy is not installed; install the extra"):
        choose_device("gpu")


@pytest.mark.parametrize(
    ("wanted", "kind", "precision"),
    [("auto", "cpu", "float32"), ("auto", "gpu", "float16"), ("bfloat16", "gpu", "bfloat16"), ("float32", "gpu", "float32")],
)
def test_precision(wanted: str, kind: str, precision: str) -> None:
    assert resolve_precision(wanted, kind) == precision


@pytest.mark.parametrize(("wanted", "kind"), [("int8", "gpu"), ("fp8", "gpu"), ("float16", "cpu"), ("double", "gpu")])
def test_precisions_that_do_not_exist(wanted: str, kind: str) -> None:
    with pytest.raises(DeviceError, match=wanted):
        resolve_precision(wanted, kind)


@pytest.mark.parametrize(("content", "cores"), [("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 8), ("", 8), ("nonsense here", 8)])
def test_a_containers_limit(monkeypatch: pytest.MonkeyPatch, content: str, cores: int) -> None:
    monkeypatch.setattr(device.os, "sched_getaffinity", lambda pid: set(range(8)))  # type: ignore[attr-defined]
    monkeypatch.setattr(Path, "read_text", lambda path: content if path.name == "cpu.max" else (_ for _ in ()).throw(FileNotFoundError()))
    assert usable_threads() == cores
