"""Which allocator a process uses, so that what it holds follows what it does, and not how long it has been at it.

Arrow's allocator (mimalloc) keeps what is freed per thread and per size, and glibc an arena per thread: with threads that hand batches to one another
both grew with the length of a job (a driver by 127 %, a worker by 22 % over a corpus repeated 100 times). A worker asks mimalloc to give back at once.
The driver's Arrow tables are few, small and of every size, for which mimalloc held pages of ten times their bytes: there Arrow takes glibc's allocator.

A GPU worker lives by its tokenizer, which allocates for each token on every core and frees on another: glibc with few arenas costs a third of its pace,
and giving back at once a third of the writer's. It gets the jemalloc that Ray brings along, a fifth faster than glibc, which gives back in seconds.
"""

from __future__ import annotations

import ctypes
import os
from importlib.util import find_spec
from pathlib import Path

from embermill.jobs.process.device_tuning import DEVICE_TUNING

DRIVER_SETTINGS = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2", "MIMALLOC_PURGE_DELAY": "0"}
M_ARENA_MAX = -8  # malloc.h
THREAD_LIMITS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS", "ARROW_NUM_THREADS")


def worker_environment(device: str, threads: int) -> dict[str, str]:
    """What a worker's process is started with: its allocators and how many threads the libraries that it uses may take."""
    return worker_settings(device, threads) | dict.fromkeys(THREAD_LIMITS, str(threads))


def worker_settings(device: str, threads: int) -> dict[str, str]:
    """The environment of a worker on "cpu" or "gpu" that computes on so many threads. All is said, since a worker may inherit the driver's settings."""
    tuning = DEVICE_TUNING[device]
    mimalloc = {
        "ARROW_DEFAULT_MEMORY_POOL": "mimalloc",
        "MALLOC_ARENA_MAX": str(tuning.arenas_per_thread * threads),
        "MIMALLOC_PURGE_DELAY": str(tuning.mimalloc_purge_delay_ms),
    }
    if device == "cpu" or "LD_PRELOAD" in os.environ or (jemalloc := _ray_jemalloc()) is None:
        return mimalloc
    return mimalloc | {"ARROW_DEFAULT_MEMORY_POOL": "system", "LD_PRELOAD": str(jemalloc), "MALLOC_CONF": "background_thread:true"}


def _ray_jemalloc() -> Path | None:
    """The library in Ray's Linux wheels, where it is."""
    ray = find_spec("ray")
    if ray is None or ray.origin is None:
        return None
    library = Path(ray.origin).parent / "core" / "libjemalloc.so"
    return library if library.is_file() else None


def return_memory_at_once() -> None:
    """For this process, the driver, and to its end: allocators cannot be asked what they were set to. Of use before pyarrow is loaded and threads start.

    What the user has set stays.
    """
    for name, value in DRIVER_SETTINGS.items():
        os.environ.setdefault(name, value)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has read its own variable by now
    if mallopt is not None:
        mallopt(M_ARENA_MAX, int(os.environ["MALLOC_ARENA_MAX"]))
