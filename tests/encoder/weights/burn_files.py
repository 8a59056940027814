"""Files written by real Burn: ours, out of tests/golden/burn; and, where ../shared lies beside the clone, other people's models and real Burn itself."""

from __future__ import annotations

import atexit
import gzip
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from tests.conftest import SHARED

OTHERS = SHARED / "fixtures" / "burn"
BURNCHECK = SHARED / "bin" / "burncheck"
BURNCHECK22 = SHARED / "bin" / "burncheck22"
BERTS = ("bert_2x32", "bert_1x24_nopool")


def _remove(folder: Path, owner: int) -> None:
    """At the end of the process that made it; one that it forked leaves it there."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack() -> Path:
    """The files of tests/golden/burn in a temporary folder, which goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="embermill-burn-"))
    atexit.register(_remove, folder, os.getpid())
    with tarfile.open(Path(__file__).parents[2] / "golden/burn/burn.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


FIXTURES = _unpack()


def _found(*patterns: str) -> list[object]:
    """Our files and other people's, each a parameter with an id; one that is skipped stands for all of the latter where they are not here."""
    ours = [pytest.param(path, id=path.relative_to(FIXTURES).as_posix()) for pattern in patterns for path in sorted(FIXTURES.rglob(pattern))]
    theirs = [pytest.param(path, id=path.name, marks=pytest.mark.shared) for pattern in patterns for path in sorted(OTHERS.glob(pattern))]
    return [*ours, *(theirs or [pytest.param(OTHERS, id="other people's", marks=pytest.mark.shared)])]


RECORDS = _found("*.mpk", "*.mpk.gz")
BURNPACKS = _found("*.bpk")
EVERY_FILE = _found("*.mpk", "*.mpk.gz", "*.bpk")


def plain_bytes(path: Path) -> bytes:
    """The file, decompressed where it is gzipped."""
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def burn_dump(kind: str, config: Path, file: Path, program: Path = BURNCHECK) -> list[dict[str, object]]:
    """What real Burn prints of every parameter of `file`; fails with its own words where Burn cannot load it."""
    done = subprocess.run([program, "dump", kind, config, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"Burn cannot load {file}: {done.stderr[-1500:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]
