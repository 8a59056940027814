"""Runs and syncs of documents of 1 to 5,000 chunks, killed at random instants; and the same rows whatever works on them."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.corpus import lines
from embermill.jobs.run import run
from embermill.jobs.sync.job import sync
from tests.jobs.command_line import command
from tests.jobs.sync.chunks import documents, prose, require_whole_documents, settings
from tests.jobs.sync.corpus import Corpus, Row, live_rows

pytestmark = pytest.mark.long

WORDS = (1, 20, 31, 400, 3_000, 30_000, 130_000)  # 1 to about 5,000 chunks
KILLS = int(os.environ.get("EMBERMILL_KILLS", "4"))
WORK = """
import json, sys
from embermill.jobs.config import JobConfig
import embermill.jobs.run, embermill.jobs.sync.stages
from tests.jobs.command_line import open_inline_pool
embermill.jobs.run.open_pool = embermill.jobs.sync.stages.open_pool = open_inline_pool
from embermill.jobs.run import run
from embermill.jobs.sync.job import sync
config = JobConfig.model_validate(json.loads(sys.argv[2]))
print("ready", flush=True)
{"run": run, "sync": sync}[sys.argv[1]](config)
"""


def rows_of(seed: int) -> list[Row]:
    return [{"id": f"d{number}", "text": prose(seed + number, size), "lang": "en"} for number, size in enumerate((*WORDS, *WORDS[:5]))]


def edited(rows: list[Row], chosen: random.Random) -> list[Row]:
    """A word in some, one that is gone, one that is new, one that shrinks, one with another name."""
    made = [dict(row) for row in rows]
    for row in made[2::3]:
        words = row["text"].split(" ")
        words[chosen.randrange(len(words))] = "another"
        row["text"] = " ".join(words)
    made[4]["text"] = made[4]["text"][:2_000]
    made[3]["id"] = "renamed"
    del made[9]
    return [*made, *documents(1, 500, first=90)]


def work_until(name: str, given: dict[str, Any], seconds: float | None) -> bool:
    """Whether it ended by itself. seconds: after which it is killed, once it has begun; None: never."""
    arguments = [sys.executable, "-c", WORK, name, json.dumps(given)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return False
    assert process.returncode == 0
    return True


def given_to(root: Path, where: str) -> dict[str, Any]:
    sections: dict[str, Any] = {"output": {"shard_bytes": 200_000, "lease_s": 2}, "corpus": {"partition_text_bytes": 100_000}}
    found = settings(root, where, **sections).model_dump(mode="json", exclude_unset=True)
    found["corpus"]["keep_columns"] = ["lang"]
    return found


@pytest.mark.timeout(max(300, 60 * KILLS))
@pytest.mark.parametrize("name", ["run", "sync"])
def test_killed_at_random_instants(tmp_path: Path, corpus: Corpus, name: str) -> None:
    chosen = random.Random(os.environ.get("EMBERMILL_SEED", "7"))
    rows = rows_of(100)
    corpus.write("a.jsonl", rows[:5])
    corpus.write("b.jsonl", rows[5:])
    if name == "sync":
        assert work_until("run", given_to(tmp_path, "base"), None)
        shutil.copytree(tmp_path / "base", tmp_path / "undisturbed")
        rows = edited(rows, chosen)
        corpus.write("a.jsonl", rows[:5])
        corpus.write("b.jsonl", rows[5:])
    begin_s = time.monotonic()
    assert work_until(name, given_to(tmp_path, "undisturbed"), None)
    took_s, kills, rounds = time.monotonic() - begin_s, 0, 0
    while kills < KILLS:
        out = str(tmp_path / f"out{rounds}")
        if name == "sync":
            shutil.copytree(tmp_path / "base", out)
        while not work_until(name, given_to(tmp_path, f"out{rounds}"), chosen.uniform(0, took_s) if kills < KILLS else None):
            kills += 1
        assert live_rows(out) == live_rows(str(tmp_path / "undisturbed"))
        require_whole_documents(out)
        assert (answer := command("verify", out)).code == 0, answer.stdout + answer.errors
        assert {row["document_id"] for row in live_rows(out).values()} == {row["id"] for row in rows}
        if name == "sync":
            assert command("history", out)["versions"][-1]["counts"]["documents"]["live"] == len(rows)
        rounds += 1
    print(f"{name}: {kills} kills in {rounds} rounds, {took_s:.1f} s undisturbed")


def shards(out: Path) -> dict[str, str]:
    found = [*out.glob("data/*.parquet"), *out.glob("changes/*/*/*.parquet")]
    return {str(file.relative_to(out)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(found)}


def test_batches_and_workers_make_the_same_shards(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of each shard, bit for bit: batches of an engine, blocks that are read and several workers change nothing."""
    from embermill.jobs.worker.cutting import LIMITS, BatchLimits

    chosen, found = random.Random(5), list[dict[str, str]]()
    rows = rows_of(300)[:10]
    corpus.write("a.jsonl", rows)
    after = edited(rows, chosen)
    for number, (batch, block) in enumerate([(None, None), (3, 1 << 12), (50, 1 << 20)]):
        if batch is not None and block is not None:
            monkeypatch.setitem(LIMITS, "cpu", BatchLimits(batch, 1 << 20))
            for reader in (lines.range_blocks, lines.line_blocks):
                monkeypatch.setattr(reader, "__defaults__", (block,))
        where, sections = f"out{number}", dict[str, dict[str, Any]](output={"shard_bytes": 20_000}, corpus={"partition_text_bytes": 100_000})
        corpus.write("a.jsonl", rows, at_s=1_600_000_000)
        run(settings(tmp_path, where, **sections))
        corpus.write("a.jsonl", after, at_s=1_600_000_100)
        sync(settings(tmp_path, where, **sections))
        found.append(shards(tmp_path / where))
    assert len(found[0]) > 5 and found[0] == found[1] == found[2]
