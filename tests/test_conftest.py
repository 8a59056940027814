"""Under CI=true only what MAY_SKIP names and a missing GPU or torch skip a test; for any other reason a skip is a failure."""

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


@pytest.mark.parametrize(("ci", "words"), [("true", "1 failed, 2 skipped, 1 xfailed"), ("", "3 skipped, 1 xfailed")])
def test_skips(tmp_path: Path, ci: str, words: str) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(command, env={"CI": ci, "PATH": ""}, cwd=tmp_path, capture_output=True, text=True)
    assert words in done.stdout, done.stdout + done.stderr


def test_the_files_that_begin_a_run_are_there() -> None:
    assert not [file for file in LONGEST_FIRST if not (ROOT / "tests" / file).is_file()]
