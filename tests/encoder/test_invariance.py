"""A document's bits depend on the document: not on its neighbours, its place, the batch, the filler or the number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.encoder.invariance import MODELS, check


@pytest.mark.parametrize("shape", MODELS, ids=str)
def test_on_this_processor(shape: tuple[int, int, int, int, str]) -> None:
    check(*shape)


OTHERS = [pytest.param(kernels, marks=pytest.mark.long) for kernels in ("Zen", "Sandybridge", "SkylakeX")]


@pytest.mark.parametrize("kernels", ["Haswell", *OTHERS])
def test_with_other_kernels(kernels: str) -> None:
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernels}
    command = [sys.executable, "-m", "tests.encoder.invariance"]
    found = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    if found.returncode < 0:
        pytest.skip(f"this processor cannot run OpenBLAS' {kernels} kernels (signal {-found.returncode})")
    assert found.returncode == 0, found.stderr
    if "openblas" not in found.stdout:
        pytest.skip(f"NumPy is not on OpenBLAS here but on {found.stdout.strip()}")
