"""Answers in words: what a person is told, from real answers of real commands where that is cheap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs import cli
from embermill.jobs.commands import answers_run, quantities
from tests.jobs.command_line import Answer

SIZES = [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (8_912_345, "8.91 MB"), (2.5e9, "2.5 GB"), (7.3e12, "7.3 TB"), (7.3e15, "7,300.0 TB")]


@pytest.mark.parametrize(("number", "words"), SIZES)
def test_bytes(number: float, words: str) -> None:
    assert quantities.show_bytes(number) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (71.5, "1 min 12 s"), (3599.6, "1 h 0 min"), (90_000, "25 h 0 min")])
def test_seconds(seconds: float, words: str) -> None:
    assert quantities.show_seconds(seconds) == words


def test_a_run_and_what_follows_it(embed: Callable[..., Answer], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"id": [1, None, 3], "text": ["one", "two", None]}), tmp_path / "corpus/a.parquet")
    answer = embed()
    assert answer.code == 0, answer.errors
    config = str(next(tmp_path.glob("*.yaml")))

    def words(*arguments: str) -> str:
        assert cli.main([*arguments]) == 0
        return capsys.readouterr().out

    assert "rows      3 in = 1 out + 2 quarantined, see quarantine/" in words("run", config)
    assert f"refused   for example {tmp_path}/corpus/a.parquet, row 1: null_id: the id is null" in words("run", config)
    assert "had nothing left to do" in words("run", config)
    assert "1 of 1 done" in words("status", str(answer.output))
    assert "is sound: 1 shard read again, 1 row." in words("verify", str(answer.output))
    assert "run    nothing: it is finished, 1 of 1 partition done" in words("plan", config)
    planned = words("plan", config, "--tokens-per-s", "10", "--set", f"output.uri={tmp_path}/new")
    assert "Nothing was written" in planned and "partitions  1 of up to" in planned and "time" in planned
    assert cli.main(["plan", config, "--set", "corpus.text_columns=[id]"]) == 2
    assert "corpus.text_columns: " in capsys.readouterr().err
    assert words("search", str(answer.output), "one").startswith("1. ")


def test_the_summary_says_what_this_run_did() -> None:
    answer = {
        "output": "out", "rows_in": 10, "rows_out": 10, "rows_quarantined": 0, "tokens": 1234, "tokens_dropped": 5, "rows_truncated": 1, "shards": 1,
        "output_bytes": 1000, "token_lengths": {"p50": 1, "p90": 2, "p99": 3, "max": 4}, "committed_before": 2, "rows_embedded": 4, "seconds": 61.0,
        "seconds_embedding": 2.0, "rows_per_s": 2.0, "tokens_per_s": 617.0, "stage_shares": {"read": 0.25, "encode": 0.75}, "bound": "encoder",
        "workers": 1, "device": "cpu", "precision": "float32", "first_quarantined": None, "prompts": None, "findings": None,
    }  # fmt: skip
    words = answers_run.show_run(answer)
    assert "4 rows in 1 min 1 s on 1 worker (cpu, float32); 2 shards had been committed before" in words
    assert "617 tokens/s, 2 rows/s over 2.0 s" in words
    assert "read 25%, encode 75%; the encoder is the bound" in words
