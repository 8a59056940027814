"""A kernel of ours as a function of this machine (clang, kernels_on_cpu.h), and random numbers as a GPU would hold them."""

from __future__ import annotations

import ctypes as C
import math
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from embermill.encoder.backends.cupy.source import INCLUDE, kernel_file

STORAGES = {"float32": 32, "float16": 16, "bfloat16": 116}
ALLOWED = {"float32": 24 * 6e-8, "float16": 2 * 4.9e-4, "bfloat16": 2 * 3.9e-3}  # roundings: of the result in 16 bits, of all that was added in float32
STORAGE = "storage.cuh"
INSTRUCTIONS = {"hopper.cuh", "wgmma.cuh", "ptx.cuh"}  # kernels_on_cpu.h stands for them
POISON = 0x7E  # of every byte: NaN in 16 bits, 8e37 in 32
ENTRY = """
struct Arguments {{ {members} }};
extern "C" int emulate(const Launch* launch, Arguments* arguments) {{
    return run(*launch, [](void* p) {{ const Arguments& a = *(const Arguments*)p; {kernel}({passed}); }}, arguments);
}}
"""


class Map(C.Structure):
    """TensorMap of kernels_on_cpu.h."""

    _fields_ = (("memory", C.c_void_p), ("rows", C.c_int), ("columns", C.c_int), ("box_rows", C.c_int))

    @classmethod
    def of(cls, array: np.ndarray, rows: int, box_rows: int) -> Map:
        return cls(array.ctypes.data, rows, array.shape[1], box_rows)


class Launch(C.Structure):
    """grid and block: (x, y)."""

    _fields_ = tuple((name, C.c_int) for name in ("grid_x", "grid_y", "block_x", "block_y", "cluster", "late"))


class Kernel:
    """A kernel of `source` ("cupy/pooling.cu"). parameters: "type name, type name", as it declares them. defines: STORAGE comes from the precision."""

    def __init__(self, clang: str, source: str, name: str, parameters: str, precision: str, **defines: int) -> None:
        self.name, words = name, [parameter.split() for parameter in parameters.split(", ")]
        entry = ENTRY.format(members=" ".join(f"{kind} {word};" for kind, word in words), kernel=name, passed=", ".join(f"a.{word}" for _, word in words))
        text = '#include "kernels_on_cpu.h"\n' + _text(kernel_file(f"cupy/{STORAGE}"), set()) + _text(kernel_file(source), {STORAGE}) + entry
        options = [f"-D{key}={value}" for key, value in {"STORAGE": STORAGES[precision], **defines}.items()]
        options += ["-std=c++17", "-O2", "-w", "-shared", "-fPIC", f"-I{Path(__file__).parent}"]
        options += ["-fsanitize=alignment", "-fsanitize-trap=alignment"]  # a GPU faults there, this machine would not
        options += ["-Wl,-Bsymbolic"]  # one kernel is called as a function of libc is
        with tempfile.NamedTemporaryFile(suffix=".so") as library:
            subprocess.run([clang, "-x", "c++", *options, "-", "-o", library.name, "-lm"], input=text, text=True, check=True)
            self.emulate = C.CDLL(library.name).emulate
        kinds = {"TensorMap": Map, "int": C.c_int, "float": C.c_float, "int64": C.c_longlong}
        self.arguments = type("Arguments", (C.Structure,), {"_fields_": [(word, kinds.get(kind, C.c_void_p)) for kind, word in words]})

    def __call__(self, grid: tuple[int, int], block: tuple[int, int], out: np.ndarray, *arguments: Any, cluster: int = 1) -> None:
        """Fills `out`, once with warps in step and all that is asynchronous done at once, once with both as far apart as may be; the bits must be the same."""
        values, seen = [value.ctypes.data if isinstance(value, np.ndarray) else value for value in arguments], []
        before = out.copy()  # kernels may read what they replace
        for late in (0, 1):
            out[:] = before
            if self.emulate(C.byref(Launch(*grid, *block, cluster, late)), C.byref(self.arguments(*values))):
                raise SystemExit(f"{self.name}: every thread waits for another")
            seen.append(out.tobytes())
        if seen[0] != seen[1]:
            raise SystemExit(f"{self.name}: the result depends on which warp is ahead, or when copies come: something is not waited for, or freed too early")


class Numbers:
    """Random numbers at this precision: float32, or the bits of 16."""

    def __init__(self, precision: str, seed: int) -> None:
        self.precision, self.random = precision, np.random.default_rng(seed)

    def plain(self, *shape: int) -> np.ndarray:
        """Unit normal, float32 whatever the precision."""
        return self.random.standard_normal(shape, dtype=np.float32)

    def normal(self, *shape: int, size: float = 1.0) -> np.ndarray:
        return self.stored(self.plain(*shape) * np.float32(size))

    def stored(self, x: np.ndarray) -> np.ndarray:
        """float32 as the GPU stores it, rounded to nearest even."""
        if self.precision == "float32":
            return x
        if self.precision == "float16":
            return x.astype(np.float16).view(np.uint16)
        wide = x.view(np.uint32)
        return ((wide + 0x7FFF + (wide >> 16 & 1)) >> 16).astype(np.uint16)

    def real(self, stored: np.ndarray) -> np.ndarray:
        if stored.dtype == np.uint16:
            stored = stored.view(np.float16) if self.precision == "float16" else (stored.astype(np.uint32) << 16).view(np.float32)
        return stored.astype(np.float64)

    def error(self, out: np.ndarray, expected: np.ndarray) -> float:
        """The largest distance over the largest value, as a share of what is allowed; what lies past the expected rows must be as `poisoned` made it."""
        if (out[len(expected) :].view(np.uint8) != POISON).any():
            return math.inf
        distance = np.abs(self.real(out[: len(expected)]) - expected).max() / np.abs(expected).max()
        return float(distance / ALLOWED["float32" if out.dtype == np.float32 else self.precision]) if np.isfinite(distance) else math.inf

    def poisoned(self, rows: int, columns: int, kind: Any = None) -> np.ndarray:
        """Room for a result, and some rows past it that must stay as they are."""
        out = np.empty((rows + 16, columns), kind or (np.float32 if self.precision == "float32" else np.uint16))
        out.view(np.uint8)[:] = POISON
        return out


def _text(file: Path, seen: set[str]) -> str:
    """The source with its includes written out, but those that kernels_on_cpu.h stands for."""

    def include(match: re.Match[str]) -> str:
        name = Path(match[1]).name
        if name in seen or name in INSTRUCTIONS:
            return ""
        seen.add(name)
        return _text(file.parent / match[1], seen)

    return INCLUDE.sub(include, file.read_text(encoding="utf-8").replace("#pragma once\n", ""))
