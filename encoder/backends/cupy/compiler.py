"""Kernel source + defines + architecture -> machine code, compiled at run time (NVRTC or hiprtc through CuPy) and kept in a cache on disk.

Compiling needs no GPU and no driver: `make kernels` calls `compile_kernels` for every architecture. Loading needs one.
The cache lies in $EMBERMILL_KERNEL_CACHE, else $XDG_CACHE_HOME/embermill/kernels, else ~/.cache/embermill/kernels; an entry's name is the hash of
everything that made it, and it appears in one rename, so processes may share the folder and none ever reads half a file.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from embermill.encoder.backends.cupy.source import kernel_text
from embermill.encoder.errors import DeviceError

log = logging.getLogger(__name__)

Defines = Mapping[str, int]


def compile_kernels(name: str, defines: Defines, architecture: str) -> bytes:
    """Machine code of every kernel in `name` ("cupy/layer_norm.cu") for `architecture` ("sm_90a", "gfx942"), from the cache if it is there.

    For "compute_80" it is PTX, which the driver compiles for the GPU that is there when it is loaded.

    Raises DeviceError with the compiler's log.
    """
    text = kernel_text(name)
    options = _options(defines, architecture)
    entry = _cache_folder() / f"{_digest(text, *options, compiler_version())}.bin"
    try:
        return entry.read_bytes()
    except OSError:
        pass
    begin = time.perf_counter()
    code = _compile(text, name, options)
    log.info("compiled %s %s for %s in %.2f s", name, dict(defines), architecture, time.perf_counter() - begin)
    _keep(entry, code)
    return code


def compiler_version() -> str:
    """"NVRTC 13.0", or "hiprtc …" on ROCm."""
    from cupy_backends.cuda.api import runtime
    from cupy_backends.cuda.libs import nvrtc

    major, minor = nvrtc.getVersion()
    return f"{'hiprtc' if runtime.is_hip else 'NVRTC'} {major}.{minor}"


def _options(defines: Defines, architecture: str) -> tuple[str, ...]:
    target = f"--gpu-architecture={architecture}" if architecture.startswith("gfx") else f"-arch={architecture}"
    return (target, "-std=c++17", *(f"-D{key}={value}" for key, value in sorted(defines.items())))


def _compile(text: str, name: str, options: tuple[str, ...]) -> bytes:
    from cupy_backends.cuda.api import runtime
    from cupy_backends.cuda.libs import nvrtc

    program = nvrtc.createProgram(text, Path(name).name, (), ())
    try:
        try:
            nvrtc.compileProgram(program, options)
        except nvrtc.NVRTCError as error:
            raise DeviceError(f"kernel {name} does not compile with {compiler_version()} {' '.join(options)}:\n{nvrtc.getProgramLog(program)}") from error
        virtual = runtime.is_hip or any(option.startswith("-arch=compute_") for option in options)  # on ROCm CuPy's getPTX gives the code object
        code = nvrtc.getPTX(program) if virtual else nvrtc.getCUBIN(program)
        return code if isinstance(code, bytes) else code.encode("latin-1")
    finally:
        nvrtc.destroyProgram(program)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


def _cache_folder() -> Path:
    chosen = os.environ.get("EMBERMILL_KERNEL_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embermill" / "kernels"


def _keep(entry: Path, code: bytes) -> None:
    """Publishes the entry in one rename; a cache that cannot be written costs a compilation next time and nothing else."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=entry.parent, delete=False) as file:
            file.write(code)
        Path(file.name).replace(entry)
    except OSError as error:
        log.warning("kernel cache %s cannot be written (%s): kernels are compiled again in every process", entry.parent, error)
