"""Where the files written by real Burn lie, and real Burn itself; tests that need them are skipped where they are absent."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[4] / "shared"
FIXTURES = SHARED / "fixtures" / "burn"
BURNCHECK = SHARED / "bin" / "burncheck"
BURNCHECK22 = SHARED / "bin" / "burncheck22"
BERTS = ("bert_2x32", "bert_1x24_nopool")

needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason="files written by real Burn are not here")
needs_burn = pytest.mark.skipif(not BURNCHECK.is_file() or not FIXTURES.is_dir(), reason="real Burn is not here")

RECORDS = sorted(FIXTURES.rglob("*.mpk")) + sorted(FIXTURES.rglob("*.mpk.gz"))
BURNPACKS = sorted(FIXTURES.rglob("*.bpk"))


def fixture_id(path: Path) -> str:
    return str(path.relative_to(FIXTURES))


def plain_bytes(path: Path) -> bytes:
    """The file, decompressed where it is gzipped."""
    data = path.read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def burn_dump(kind: str, config: Path, file: Path, program: Path = BURNCHECK) -> list[dict[str, object]]:
    """What real Burn prints of every parameter of `file`; fails with its own words where Burn cannot load it."""
    done = subprocess.run([program, "dump", kind, config, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"Burn cannot load {file}: {done.stderr[-1500:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]
