"""The same cuts in another Python, whose Unicode tables are of another edition."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.chunking.cut_everywhere import LIMITS, texts
from tests.jobs.chunking.tokenizers_to_cut_by import KINDS
from tests.services import ROOT

NEEDED = ("markdown-it-py", "mdurl", "numpy", "tokenizers")  # of the cutter
MINORS = (14, 13, 12, 11)


def other_pythons() -> list[str]:
    """Of 3.11 to 3.14, those beside the one that runs, as the PATH or pyenv has them."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    names = [f"python3.{minor}" for minor in MINORS if minor != sys.version_info.minor]
    return [str(found) for name in names for found in (name, *sorted(kept.glob(f"{name.removeprefix('python')}*/bin/{name}"))) if _runs(str(found))]


def _runs(python: str) -> bool:
    try:
        return subprocess.run([python, "-c", "import ensurepip, ssl, venv"], capture_output=True, timeout=60).returncode == 0
    except OSError:
        return False


def locked(names: tuple[str, ...]) -> str:
    """The entries of infra/lock.txt for these packages, with their hashes."""
    lock = (ROOT / "infra/lock.txt").read_text()
    return "".join(found[0] for name in names if (found := re.search(rf"^{name}==.*\n(?:    --hash.*\n)+", lock, re.MULTILINE)))


def cuts_of(python: str) -> dict[str, Any]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([python, "-m", "tests.jobs.chunking.cut_everywhere"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.long
@pytest.mark.timeout(900)
def test_equal_cuts(tmp_path: Path) -> None:
    found = other_pythons()
    if not found:
        pytest.skip("no second Python of 3.11 to 3.14 is here")
    subprocess.run([found[0], "-m", "venv", str(tmp_path / "venv")], check=True, capture_output=True, timeout=300)
    (tmp_path / "lock.txt").write_text(locked(NEEDED))
    python = str(tmp_path / "venv/bin/python")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(tmp_path / "lock.txt")]
    subprocess.run(install, check=True, timeout=600)
    other, ours = cuts_of(python), cuts_of(sys.executable)
    assert other["unicode"] != ours["unicode"], (other["python"], ours["python"])
    assert other["cuts"] == ours["cuts"], f"Python {other['python']} and {ours['python']}"
    assert [len(each) for each in ours["cuts"]] == [len(texts())] * len(KINDS) * len(LIMITS)
    assert sum(len(cut[0]) for each in ours["cuts"] for cut in each) > 5000
