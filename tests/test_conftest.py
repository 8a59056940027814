"""Under CI=true only what MAY_SKIP names and a missing GPU or torch skip a test; for any other reason a skip is a failure. Files leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LONGEST_FIRST

ROOT = Path(__file__).parent.parent
TESTS = """
import pytest

def test_tool():
    pytest.skip("no strace here")

@pytest.mark.shared
def test_burn(): ...

@pytest.mark.gpu
def test_gpu():
    pytest.skip("no GPU")

@pytest.mark.xfail(strict=True)
def test_known():
    assert False
"""


BUSY = """
import subprocess, sys

BURN = "import time; began = time.process_time()\\nwhile time.process_time() < began + 0.3: ..."

def test_itself():
    exec(BURN)

def test_its_child():
    subprocess.run([sys.executable, "-c", BURN], check=True)
"""


LEAVES = """
import os

def test_stays(): ...

def test_moves():
    os.chdir("/")
"""


def run_pytest(folder: Path, tests: str, *arguments: str, ci: str = "") -> str:
    """What pytest prints of a folder that holds these tests and our conftest."""
    (folder / "tests").mkdir()
    (folder / "tests/cpu_seconds.py").write_text((ROOT / "tests/cpu_seconds.py").read_text())
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (folder / "test_it.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), f"--rootdir={folder}", str(folder)]
    done = subprocess.run([*command, *arguments], env={"CI": ci, "PATH": ""}, cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize(("ci", "words"), [("true", "1 failed, 2 skipped, 1 xfailed"), ("", "3 skipped, 1 xfailed")])
def test_skips(tmp_path: Path, ci: str, words: str) -> None:
    assert words in run_pytest(tmp_path, TESTS, ci=ci)


def test_a_file_that_leaves_something_behind_is_named(tmp_path: Path) -> None:
    told = run_pytest(tmp_path, LEAVES)
    assert "the current folder is another after the file's last test" in told and "2 passed, 1 error" in told, told


def test_a_costly_file_is_named(tmp_path: Path) -> None:
    told = run_pytest(tmp_path, BUSY, "--cpu-seconds=0.3")
    cost = next(line for line in told.splitlines() if line.endswith("test_it.py"))
    assert 0.6 <= float(cost.split()[0]) < 5, told


def test_the_files_that_begin_a_run_are_there() -> None:
    assert not [file for file in LONGEST_FIRST if not (ROOT / "tests" / file).is_file()]
