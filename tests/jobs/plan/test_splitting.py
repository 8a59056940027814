"""`plan` says what is lost of long texts, and what it costs to keep it: held against what a run with `split` makes."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.commands.answers import show_plan
from tests.jobs.command_line import open_inline_pool
from tests.jobs.command_line import run as command
from tests.jobs.test_chunked_job import ENGINE, corpus, rows, split, words


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)


def sizes(seed: int) -> list[int]:
    return [int(random.Random(seed + number).lognormvariate(3.5, 1.2)) + 1 for number in range(60)]


def plan(folder: Path, mode: str, engine: str = ENGINE, **sections: Any) -> Any:
    answer = command(folder, name="plan", engine=None, model={"engine": engine, "on_long_text": mode}, **sections)
    assert answer.code == 0, answer.errors
    return answer


@pytest.mark.parametrize("partition_text_bytes", [1 << 20, 9000])
def test_the_estimate_is_near_what_a_run_makes(tmp_path: Path, partition_text_bytes: int) -> None:
    texts = [words(size, size) for size in sizes(1)]
    cut = {"partition_text_bytes": partition_text_bytes}
    corpus(tmp_path, texts)
    told = plan(tmp_path, "truncate", corpus=cut)
    found, shown = told["splitting"], show_plan(json.loads(told.stdout))
    made = split(tmp_path, corpus=cut)
    exact = len({row["id"] for row in rows(made)})
    assert found["rows"] == pytest.approx(exact, rel=0.1) and found["extra_rows"] == found["rows"] - len(texts) > 30
    assert found["tokens"] == pytest.approx(made["tokens"], rel=0.1)
    truncated = command(tmp_path, name="run", engine=None, model={"engine": ENGINE}, output="truncated", corpus=cut)
    assert found["documents_over"] == pytest.approx(truncated["rows_truncated"], abs=4)
    assert found["tokens_over"] == pytest.approx(truncated["tokens_dropped"], rel=0.1)
    assert found["extra_tokens"] == pytest.approx(made["tokens"] - truncated["tokens"], rel=0.12)
    assert "tokens would be cut off" in shown and f"--set model.on_long_text=split embeds them whole, as chunks: about {found['rows']:,} rows" in shown


def test_split_itself_tells_its_chunks(tmp_path: Path) -> None:
    corpus(tmp_path, [words(size, size) for size in sizes(2)])
    told = plan(tmp_path, "split")
    assert told["rows"] == 60 and told["tokens"] == told["splitting"]["tokens"] and told["output_bytes"] == told["splitting"]["output_bytes"]
    shown = show_plan(json.loads(told.stdout))
    assert "rows, " in shown and "more than documents" in shown and "advice" not in shown


def test_what_would_be_refused(tmp_path: Path) -> None:
    corpus(tmp_path, [words(size, size) for size in sizes(3)])
    assert "tokens too many, would be refused" in show_plan(json.loads(plan(tmp_path, "error").stdout))


def test_nothing_is_said_where_all_fits(tmp_path: Path) -> None:
    corpus(tmp_path, [words(5, 1)] * 3)
    told = plan(tmp_path, "truncate")
    assert told["splitting"] is None and "on_long_text" not in show_plan(json.loads(told.stdout))


@pytest.mark.parametrize("engine", ["NoCounter", "CutCounter"])
def test_nothing_is_advised_that_would_be_refused(tmp_path: Path, engine: str) -> None:
    corpus(tmp_path, [words(100, 1)])
    assert plan(tmp_path, "truncate", f"python:tests.jobs.chunk_engine:{engine}")["splitting"] is None


def test_every_file_of_a_folder_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    for number in range(20):
        (tmp_path / f"corpus/{number}.md").write_text(words(400 if number == 11 else 3, number))
    told = plan(tmp_path, "truncate", corpus={"files": [str(tmp_path / "corpus")]})
    assert told["sampled_texts"] == 20 and told["splitting"]["documents_over"] == 1


def bad_spans(text: str) -> list[tuple[int, int]]:
    return []


def test_a_splitter_whose_spans_are_none_makes_no_estimate_and_is_told(tmp_path: Path) -> None:
    corpus(tmp_path, [words(200, seed) for seed in range(5)])
    told = plan(tmp_path, "split", chunk={"splitter": "python:tests.jobs.plan.test_splitting:bad_spans"})
    assert told["splitting"] is None and (told["refused"]["rows"], told["refused"]["reason"]) == (5, "not_cut")
    assert "5 rows of those sampled would be quarantined, for example of " in (shown := show_plan(json.loads(told.stdout))) and "chunk.splitter: " in shown
