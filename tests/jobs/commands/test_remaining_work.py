"""`embermill plan` at an existing dataset: what a run would do there, which is then what the run does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.commands.answers import show_plan
from embermill.jobs.dataset.metadata.lease import hold_lease
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import Answer

Run = Callable[..., Answer]
COMMITS, MANIFESTS = "_embermill/commits", "_embermill/manifests"


@pytest.fixture
def run(embed: Run, tmp_path: Path) -> Run:
    """A dataset of four partitions of one row each, the last of them refused."""
    (tmp_path / "corpus").mkdir()
    ids = pa.array(["a", "b", "c", None], pa.string())
    pq.write_table(pa.table({"id": ids, "text": ["text of a row"] * 4}), tmp_path / "corpus/a.parquet", row_group_size=1)
    return lambda name="run", model=None, chunk=None, **corpus: embed(
        name=name, corpus={"partition_text_bytes": 1} | corpus, model=model or {}, chunk=chunk or {}
    )


def commit_only(out: Path, partitions: list[int]) -> None:
    """As if a run had been killed when these were committed: the others, shards and all, never were."""
    tables = [pq.read_table(path) for path in sorted((out / COMMITS).iterdir())]
    table = pa.concat_tables(tables)
    shutil.rmtree(out / COMMITS)
    shutil.rmtree(out / MANIFESTS)
    (out / COMMITS).mkdir()
    kept = [row for row, number in enumerate(table.column("partition").to_pylist()) if number in partitions]
    pq.write_table(table.take(pa.array(kept, pa.int64())), out / COMMITS / "000000001.parquet")


def lose_shards(out: Path, partitions: list[int]) -> None:
    for number in partitions:
        for path in [*out.glob(f"data/part-{number:09d}-*"), *out.glob(f"quarantine/part-{number:09d}-*")]:
            path.unlink()


def test_a_new_dataset_is_begun(run: Run) -> None:
    planned = run("plan")
    assert (planned["action"], planned["partitions_left"], planned["partitions_done"], planned["partitions"]) == ("begin", 4, 0, 4)
    assert not planned.output.exists()


def test_a_finished_dataset_is_left_alone(run: Run) -> None:
    out = run().output
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    planned = run("plan")
    assert (planned["action"], planned["partitions_left"], planned["rows"], planned["tokens_left"]) == ("nothing", 0, 4, 0)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before and run()["rows_embedded"] == 0


def test_a_finished_dataset_that_lacks_a_shard_is_refused_as_by_a_run(run: Run) -> None:
    out = run().output
    lose_shards(out, [1])
    planned, answer = run("plan"), run()
    assert planned.code == answer.code == 3 and "is gone; its commit says" in planned.errors
    assert json.loads(planned.stdout)["error"] == json.loads(answer.stdout)["error"]


def test_a_half_finished_one_is_gone_on_with(run: Run, tmp_path: Path) -> None:
    out = run().output
    commit_only(out, [0, 2])
    lose_shards(out, [1, 3])
    planned = run("plan")
    found = {key: planned[key] for key in ("action", "partitions", "partitions_done", "partitions_left", "rows", "uncommitted")}
    assert found == {"action": "go_on", "partitions": 4, "partitions_done": 2, "partitions_left": 2, "rows": 2, "uncommitted": 0}
    assert planned["tokens_left"] == pytest.approx(planned["tokens"]) and planned["text_bytes_left"] * 2 == planned["text_bytes"]
    answer = run()
    assert (answer.code, answer["rows_embedded"], answer["committed_before"]) == (0, 2, 2)


@pytest.mark.parametrize("chunk", [{}, {"max_tokens": 24, "overlap_tokens": 8}])
def test_before_a_partition_is_complete_a_sample_tells_what_will_be_computed(run: Run, tmp_path: Path, chunk: dict[str, int]) -> None:
    """Documents far longer than the limit: what it drops is not computed; of chunks all is, with what they share."""
    rows = [" ".join(f"w{row}-{word}" for word in range(200)) for row in range(8)]
    pq.write_table(pa.table({"id": [*map(str, range(8))], "text": rows}), tmp_path / "corpus/a.parquet", row_group_size=1)
    engine = "python:tests.jobs.chunk_engine:ChunkEngine"
    settings = {"model": {"engine": engine} | ({"on_long_text": "split"} if chunk else {}), "chunk": chunk}
    planned, made = run("plan", **settings), run(**settings)
    assert made.code == 0, made.errors
    commit_only(made.output, [])
    lose_shards(made.output, [*range(8)])
    assert run("plan", **settings)["tokens_left"] == pytest.approx(made["tokens"], rel=0.05) == planned["tokens"]


def test_what_a_killed_run_left_is_adopted(run: Run) -> None:
    out = run().output
    commit_only(out, [0])
    assert (run("plan")["partitions_left"], run("plan")["uncommitted"]) == (3, 3)
    assert run()["rows_embedded"] == 0


def test_all_is_embedded_and_only_the_manifest_is_left(run: Run) -> None:
    out = run().output
    shutil.rmtree(out / MANIFESTS)
    assert (run("plan")["action"], run("plan")["partitions_left"]) == ("finish", 0)
    assert run().code == 0 and run("plan")["action"] == "nothing"


REFUSED = [({"text_columns": ["id"]}, 2, 'corpus.text_columns: ["text"] -> ["id"]'), ({"max_quarantined": 0}, 3, "max_quarantined: 0 allows 0")]


@pytest.mark.parametrize("state", ["finished", "unfinished"])
@pytest.mark.parametrize(("change", "code", "words"), REFUSED)
def test_what_a_run_refuses_the_plan_refuses_in_the_same_words(run: Run, state: str, change: dict[str, object], code: int, words: str) -> None:
    out = run().output
    if state == "unfinished":
        shutil.rmtree(out / MANIFESTS)
    planned, answer = run("plan", **change), run(**change)
    assert planned.code == answer.code == code and words in planned.errors
    assert json.loads(planned.stdout)["error"] == json.loads(answer.stdout)["error"]


def test_a_file_that_came_later_is_said(run: Run, tmp_path: Path) -> None:
    run()
    pq.write_table(pa.table({"id": ["late"], "text": ["x"]}), tmp_path / "corpus/late.parquet")
    planned = run("plan")
    assert planned.code == 0 and planned["action"] == "nothing" and planned["sync"]["files"]["new"] == 1


def test_a_run_that_is_at_work_is_told(run: Run) -> None:
    out = run().output
    assert run("plan")["holder"] is None
    with hold_lease(open_folder(str(out))):
        planned = run("plan")
        assert planned["holder"]["is_running"] and "embermill run" in planned["holder"]["who"]
        assert "in use" in show_plan(json.loads(planned.stdout)) and "exit with code 4" in show_plan(json.loads(planned.stdout))
    assert run("plan")["holder"] is None
