"""Compiles every kernel for every GPU it is meant for, with no GPU: NVRTC for NVIDIA, clang -x hip for AMD. Prints a table; any error ends it.

    python compile_all.py [--clang clang-19]
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from embermill.encoder.backends.cuda.sm90_gemm import Tile  # noqa: E402
from embermill.encoder.backends.cupy.compiler import compile_kernels, compiler_version  # noqa: E402
from embermill.encoder.backends.cupy.source import kernel_text  # noqa: E402
from infra.kernels.machine_code import faults  # noqa: E402
from infra.kernels.resources import check  # noqa: E402

NVIDIA = ("sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a")
BEFORE_HOPPER = ("sm_80", "sm_86", "sm_89")
AMD = ("gfx90a", "gfx942", "gfx1100")
STORAGES = (32, 16, 116)
HALVES = (16, 116)

DISTANCES = ({"WINDOW": 64}, {"BIAS_RADIUS": 91})  # ModernBERT's, MPNet's

PORTABLE: dict[str, list[dict[str, int]]] = {
    "cupy/convert.cu": [{}],
    "cupy/layer_norm.cu": [{"WIDTH": width} for width in (37, 768)],
    "cupy/epilogue.cu": [{"WIDTH": 3072, "ACTIVATION": activation} for activation in (0, 1, 2)] + [{"WIDTH": 37}],
    "cupy/gate.cu": [{"WIDTH": 1152, "ACTIVATION": 1}, {"WIDTH": 37, "ACTIVATION": 5}],
    "cupy/rotary.cu": [{"HEAD_DIM": dim} for dim in (12, 64)],
    "cupy/attention.cu": [{"HEAD_DIM": dim} for dim in (12, 64, 128)] + [{"HEAD_DIM": 64, **DISTANCES[0], **DISTANCES[1]}],
    "cupy/pooling.cu": [{"WIDTH": 768, "POOLING": pooling} for pooling in range(6)] + [{"WIDTH": 37, "POOLING": 1}] + [{"WIDTH": 768, "ACTIVATION": 4}],
}
TENSOR_CORES = {
    "cuda/sm80_attention.cu": [{"HEAD_DIM": dim} for dim in (32, 64, 128)]
    + [{"HEAD_DIM": 64, **distance} for distance in DISTANCES]
    + [{"HEAD_DIM": 128, "SPLIT": 2}],
}
HOPPER = {
    "cuda/sm90_attention.cu": [{"HEAD_DIM": dim, **distance} for dim in (32, 64) for distance in ({}, *DISTANCES)],
    "cuda/sm90_gemm.cu": [{"ACTIVATION": 1, **tile.defines} for tile in (Tile(), Tile(cluster=1), Tile(192, 5), Tile(128, 6))]
    + [{"GATED": 1, "BIAS": 0, "ACTIVATION": activation, **Tile().defines} for activation in (1, 5)]
    + [{"ROTARY_DIM": dim, "BIAS": bias, **Tile().defines} for dim, bias in ((64, 0), (64, 1), (32, 0), (128, 0))],
    "cuda/sm90_gemm_norm.cu": [
        {"TILE_N": n, "STAGES": stages, "CLUSTER_ROWS": rows, "CLUSTER_COLUMNS": columns, **kept}
        for n, stages, rows, columns in ((256, 4, 2, 1), (384, 3, 2, 1), (256, 4, 1, 2), (384, 3, 1, 2))
        for kept in ({}, {"KEEP_SUM": 1})
    ],
}

Job = tuple[str, dict[str, int], str]


def jobs(kernels: dict[str, list[dict[str, int]]], storages: tuple[int, ...], architectures: tuple[str, ...]) -> Iterator[Job]:
    for (name, variants), storage, architecture in itertools.product(kernels.items(), storages, architectures):
        for defines in variants:
            yield name, {"STORAGE": storage, **defines}, architecture


def compile_amd(clang: str, job: Job) -> None:
    name, defines, architecture = job
    prelude = Path(__file__).with_name("hip_prelude.h")
    subprocess.run(
        [clang, "-x", "hip", f"--offload-arch={architecture}", "--cuda-device-only", "--no-gpu-bundle-output", "-nogpulib", "-nogpuinc", "-O3", "-std=c++17",
         "-include", str(prelude), *(f"-D{key}={value}" for key, value in defines.items()), "-c", "-", "-o", "/dev/null"],
        input=kernel_text(name), text=True, check=True,
    )  # fmt: skip


def check_machine_code(job: Job) -> None:
    found = faults(compile_kernels(*job))
    if found:
        raise SystemExit(f"{job[0]} {job[1]}: between its products, the machine code holds {' and '.join(found)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clang", default="clang-19")
    clang = parser.parse_args().clang
    hopper = list(jobs(HOPPER, HALVES, ("sm_90a",)))
    nvidia = [*jobs(PORTABLE, STORAGES, NVIDIA), *jobs(TENSOR_CORES, HALVES, NVIDIA), *hopper]
    amd = list(jobs(PORTABLE, STORAGES, AMD))
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        begin = time.perf_counter()
        list(threads.map(lambda job: compile_kernels(*job), nvidia))
        print(f"{compiler_version()}: {len(nvidia)} compilations for {', '.join(NVIDIA)} in {time.perf_counter() - begin:.0f} s", flush=True)
        list(threads.map(check_machine_code, hopper))
        print(f"nvdisasm: nothing between the products of {len(hopper)} Hopper kernels fences the GPU, empties a cache or spills", flush=True)
        older = [job for job in nvidia if job[2] in BEFORE_HOPPER]
        checked = sum(threads.map(lambda job: check(*job, compile_kernels(*job)), older))
        print(f"{', '.join(BEFORE_HOPPER)}: a multiprocessor has the shared memory, threads and registers of a block of each of {checked} kernels", flush=True)
        begin = time.perf_counter()
        list(threads.map(lambda job: compile_amd(clang, job), amd))
        print(f"{clang}: {len(amd)} compilations for {', '.join(AMD)} in {time.perf_counter() - begin:.0f} s (compiled, never run on an AMD GPU)")


if __name__ == "__main__":
    main()
