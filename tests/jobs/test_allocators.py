"""Which allocator Arrow takes in the driver: one that gives back what a job's many small tables leave, unless the user has chosen."""

from __future__ import annotations

import os
import subprocess
import sys

import pyarrow as pa
import pytest

ASK = "from jobs.allocators import return_memory_at_once as begin; begin(); import pyarrow; print(pyarrow.default_memory_pool().backend_name)"


@pytest.mark.parametrize("chosen", [None, *pa.supported_memory_backends()])
def test_the_drivers_pool_is_the_systems_unless_the_user_says_otherwise(chosen: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    if chosen is not None:
        environment["ARROW_DEFAULT_MEMORY_POOL"] = chosen
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [chosen or "system"]
