"""Which allocators driver and workers take: those that give back what a job leaves, and that do not stand in a tokenizer's way, unless the user has chosen."""

from __future__ import annotations

import os
import subprocess
import sys

import pyarrow as pa
import pytest

from embermill.jobs.process.allocators import worker_settings

ASK = "from embermill.jobs.process.allocators import return_memory_at_once as begin; begin(); import pyarrow; print(pyarrow.default_memory_pool().backend_name)"


@pytest.mark.parametrize("chosen", [None, *pa.supported_memory_backends()])
def test_the_drivers_pool_is_the_systems_unless_the_user_says_otherwise(chosen: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    if chosen is not None:
        environment["ARROW_DEFAULT_MEMORY_POOL"] = chosen
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [chosen or "system"]


def test_a_gpu_workers_allocations_are_jemallocs() -> None:
    settings = worker_settings("gpu", 16)
    if "LD_PRELOAD" not in settings:
        pytest.skip("this Ray brings no jemalloc")
    shown = "import pyarrow; print(pyarrow.default_memory_pool().backend_name); print(open('/proc/self/maps').read())"
    done = subprocess.run([sys.executable, "-c", shown], env=os.environ | settings, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.startswith("system") and settings["LD_PRELOAD"] in done.stdout


def test_a_users_own_allocator_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "libmine.so")
    settings = worker_settings("gpu", 16)
    assert "LD_PRELOAD" not in settings
    assert settings["MALLOC_ARENA_MAX"] == "128", "not the driver's two, which a worker inherits: sixteen tokenizer threads stood in line for them"


def test_a_cpu_worker_has_two_arenas_for_each_of_its_threads() -> None:
    assert worker_settings("cpu", 3)["MALLOC_ARENA_MAX"] == "6"
