"""Hopper's own kernels on the CPU, against NumPy in float64: what needs no card to be wrong is found without one. See hopper_on_cpu.h for what is not.

    python emulate.py [--clang clang-19]
"""

from __future__ import annotations

import argparse
import ctypes as C
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from encoder.kernels.hopper_gemm import TILE_M, Tile  # noqa: E402
from encoder.kernels.source import INCLUDE  # noqa: E402
from encoder.kernels.source import ROOT as KERNELS  # noqa: E402

STORAGES = {"float16": 16, "bfloat16": 116}
ROUNDING = {"float16": 4.9e-4, "bfloat16": 3.9e-3}
MOST_ROUNDINGS = 2.0
STORAGE = "storage.cuh"
INSTRUCTIONS = {"hopper.cuh", "wgmma.cuh", "ptx.cuh"}  # stood for by hopper_on_cpu.h
POISON = 0x7E7E  # NaN in both types
ENTRY = """
struct Arguments {{ {members} }};
extern "C" int emulate(int grid, int cluster, int late, Arguments* arguments) {{
    return run(grid, cluster, THREADS, late, [](void* p) {{ const Arguments& a = *(const Arguments*)p; {kernel}({passed}); }}, arguments);
}}
"""


class Map(C.Structure):
    """TensorMap of hopper_on_cpu.h."""

    _fields_ = (("memory", C.c_void_p), ("rows", C.c_int), ("columns", C.c_int), ("box_rows", C.c_int))

    @classmethod
    def of(cls, array: np.ndarray, rows: int, box_rows: int) -> Map:
        return cls(array.ctypes.data, rows, array.shape[1], box_rows)


class Kernel:
    """A kernel as a function of this machine. parameters: "type name, type name", as it declares them."""

    def __init__(self, clang: str, name: str, parameters: str, defines: dict[str, int]) -> None:
        self.name, words = name, [parameter.split() for parameter in parameters.split(", ")]
        entry = ENTRY.format(members=" ".join(f"{kind} {word};" for kind, word in words), kernel=name, passed=", ".join(f"a.{word}" for _, word in words))
        text = '#include "hopper_on_cpu.h"\n' + _text(KERNELS / "portable" / STORAGE, set()) + _text(KERNELS / "cuda" / f"{name}.cu", {STORAGE}) + entry
        options = ["-std=c++17", "-O2", "-w", "-shared", "-fPIC", f"-I{Path(__file__).parent}", *(f"-D{key}={value}" for key, value in defines.items())]
        with tempfile.NamedTemporaryFile(suffix=".so") as library:
            subprocess.run([clang, "-x", "c++", *options, "-", "-o", library.name, "-lm"], input=text, text=True, check=True)
            self.emulate = C.CDLL(library.name).emulate
        kinds = {"TensorMap": Map, "int": C.c_int, "float": C.c_float}
        self.arguments = type("Arguments", (C.Structure,), {"_fields_": [(word, kinds.get(kind, C.c_void_p)) for kind, word in words]})

    def __call__(self, grid: int, cluster: int, out: np.ndarray, *arguments: Any) -> None:
        """Fills `out`, once with all that is asynchronous done at once and once as late as may be; the bits must be the same."""
        seen = []
        for late in (False, True):
            out[:] = POISON
            if self.emulate(grid, cluster, late, C.byref(self.arguments(*arguments))):
                raise SystemExit(f"{self.name}: every thread waits for another")
            seen.append(out.copy())
        if (seen[0] != seen[1]).any():
            raise SystemExit(f"{self.name}: the result depends on when copies and products are done: something is not waited for, or let go too early")


class Numbers:
    """Random numbers as a card holds them at this precision."""

    def __init__(self, precision: str, seed: int) -> None:
        self.precision, self.random = precision, np.random.default_rng(seed)

    def normal(self, *shape: int, size: float = 1.0) -> np.ndarray:
        """Bits, uint16."""
        x = self.random.standard_normal(shape, dtype=np.float32) * np.float32(size)
        if self.precision == "float16":
            return x.astype(np.float16).view(np.uint16)
        wide = x.view(np.uint32)
        return ((wide + 0x7FFF + (wide >> 16 & 1)) >> 16).astype(np.uint16)

    def real(self, bits: np.ndarray) -> np.ndarray:
        held = bits.view(np.float16) if self.precision == "float16" else (bits.astype(np.uint32) << 16).view(np.float32)
        return held.astype(np.float64)

    def roundings(self, out: np.ndarray, expected: np.ndarray) -> float:
        """The largest distance, in roundings of the largest value; what lies past the expected rows must be as it was."""
        if (out[len(expected) :] != POISON).any():
            return math.inf
        distance = np.abs(self.real(out[: len(expected)]) - expected).max() / np.abs(expected).max()
        return float(distance / ROUNDING[self.precision]) if np.isfinite(distance) else math.inf


def product_with_gelu(clang: str, precision: str, tile: Tile) -> float:
    rows, outputs, inputs, clusters = 300, 768, 448, 2  # more tiles than clusters, the last not full; more of K than there are stages
    numbers = Numbers(precision, seed=tile.columns)
    x, weight = numbers.normal(rows, inputs), numbers.normal(outputs, inputs, size=inputs**-0.5)
    bias, out = numbers.random.standard_normal(outputs, dtype=np.float32), np.empty((rows + 64, outputs), np.uint16)
    defines = dict(STORAGE=STORAGES[precision], ACTIVATION=1, TILE_N=tile.columns, STAGES=tile.stages, CLUSTER=tile.cluster)
    kernel = Kernel(clang, "gemm_wgmma", "TensorMap x, TensorMap weight, TensorMap out, float* bias, int m, int n, int k", defines)
    maps = Map.of(x, rows, TILE_M), Map.of(weight, outputs, tile.columns // tile.cluster), Map.of(out, rows, 64)
    kernel(clusters * tile.cluster, tile.cluster, out, *maps, bias.ctypes.data, rows, outputs, inputs)
    product = numbers.real(x) @ numbers.real(weight).T + bias
    return numbers.roundings(out, 0.5 * product * (1 + np.vectorize(math.erf)(product / math.sqrt(2))))


def attention(clang: str, precision: str, head_dim: int) -> float:
    lengths, heads, query_rows, blocks = [1, 300, 5, 32, 33, 64, 65, 128, 129, 7], 3, 128, 2
    numbers = Numbers(precision, seed=head_dim)
    first = np.cumsum([0, *lengths])
    tiles = np.array([(start, length, query, 0) for start, length in zip(first, lengths, strict=False) for query in range(0, length, query_rows)], np.int32)
    qkv, out = numbers.normal(first[-1], 3 * heads * head_dim, size=1.5), np.empty((first[-1] + 64, heads * head_dim), np.uint16)
    count, defines = np.array([len(tiles)], np.int32), dict(STORAGE=STORAGES[precision], HEAD_DIM=head_dim)
    kernel = Kernel(clang, "attention_wgmma", "bits16* qkv, int4* tiles, int* count, bits16* out, int num_heads, float scale_log2", defines)
    kernel(blocks, 1, out, qkv.ctypes.data, tiles.ctypes.data, count.ctypes.data, out.ctypes.data, heads, head_dim**-0.5 * math.log2(math.e))
    expected = np.zeros((first[-1], heads, head_dim))
    for start, length in zip(first, lengths, strict=False):
        query, key, value = numbers.real(qkv[start : start + length]).reshape(length, 3, heads, head_dim).transpose(1, 2, 0, 3)
        odds = np.exp(query @ key.transpose(0, 2, 1) * head_dim**-0.5)
        expected[start : start + length] = (odds / odds.sum(-1, keepdims=True) @ value).transpose(1, 0, 2)
    return numbers.roundings(out, expected.reshape(first[-1], -1))


def every_kernel(clang: str) -> Iterator[tuple[str, float]]:
    for precision in STORAGES:
        for tile in (Tile(), Tile(cluster=1), Tile(192, 5)):
            yield f"gemm_wgmma {tile} {precision}", product_with_gelu(clang, precision, tile)
        for head_dim in (32, 64):
            yield f"attention_wgmma {head_dim} {precision}", attention(clang, precision, head_dim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clang", default="clang-19")
    begin, found = time.perf_counter(), dict(every_kernel(parser.parse_args().clang))
    for name, roundings in found.items():
        if not roundings <= MOST_ROUNDINGS:
            raise SystemExit(f"{name}, emulated: expected at most {MOST_ROUNDINGS} roundings from float64, got {roundings:.2f}")
    print(f"emulated on the CPU: {len(found)} Hopper kernels within {max(found.values()):.2f} roundings of float64 in {time.perf_counter() - begin:.0f} s")


def _text(file: Path, seen: set[str]) -> str:
    """The source with its includes written out, but those that hopper_on_cpu.h stands for."""

    def include(match: re.Match[str]) -> str:
        name = Path(match[1]).name
        if name in seen or name in INSTRUCTIONS:
            return ""
        seen.add(name)
        return _text(file.parent / match[1], seen)

    return INCLUDE.sub(include, file.read_text(encoding="utf-8").replace("#pragma once\n", ""))


if __name__ == "__main__":
    main()
