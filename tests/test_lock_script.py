"""infra/lock.sh --check fails where the lock does not install on one of the Pythons and platforms, whichever it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "infra/lock.sh"
UV = """#!/bin/sh
case "$*" in *"--python-version $REFUSED"*) echo "no wheel" >&2; exit 1 ;; esac
"""


@pytest.mark.parametrize(("refused", "fails"), [("none", False), ("3.11", True), ("3.14", True)])
def test_check_fails_where_one_platform_cannot_install(tmp_path: Path, refused: str, fails: bool) -> None:
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "REFUSED": refused}
    done = subprocess.run(["bash", str(SCRIPT), "--check"], env=environment, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
