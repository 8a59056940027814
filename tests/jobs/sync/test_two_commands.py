"""Two `embermill sync` in the same second, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from embermill.jobs.dataset.metadata.versions import read_versions
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import command
from tests.jobs.sync.corpus import Corpus, live_rows, row, settings_of

ROWS = 4000
WAIT_AND_RUN = "import sys; import embermill.jobs.cli as cli, embermill.jobs.sync.job; print('ready', flush=True); input(); sys.exit(cli.main(sys.argv[1:]))"


def test_one_makes_the_version_and_the_other_says_who_runs(tmp_path: Path, corpus: Corpus) -> None:
    """Kept columns changed, so that vectors are copied and no engine is needed: what is met is the lease."""
    corpus.write("a.jsonl", [row(f"a{n}", f"text {n}") for n in range(ROWS)])
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump(settings_of(tmp_path)))
    assert command("run", str(job)).code == 0
    corpus.write("a.jsonl", [row(f"a{n}", f"text {n}", "de") for n in range(ROWS)])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", WAIT_AND_RUN, "sync", str(job), "--json"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for each in both:
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    for each in both:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    said = [each.communicate(timeout=120) for each in both]
    codes = [each.returncode for each in both]
    assert sorted(codes) == [0, 4], said
    made, refused = codes.index(0), codes.index(4)
    assert json.loads(said[made][0])["version"] == 2 and json.loads(said[made][0])["vectors_copied"] == ROWS
    assert f"`embermill sync`, process {both[made].pid} on " in said[refused][1]
    assert [(version.number, version.state) for version in read_versions(open_folder(str(tmp_path / "out")))] == [(1, "committed"), (2, "committed")]
    assert {each["lang"] for each in live_rows(str(tmp_path / "out")).values()} == {"de"}
