"""The record of a run: what it adds up to, how it stays small, and that nothing depends on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.dataset.metadata.run_records import RUNS, read_records, write_record
from embermill.jobs.driver.progress import Meter
from embermill.jobs.driver.run_record import MOST_SAMPLES, MOST_WORKERS, RunRecord
from embermill.jobs.pool.base import Died
from embermill.jobs.receipt import Failed, Progress
from embermill.jobs.report.speed import describe_run, speed_over_time, worker_hours
from embermill.jobs.storage import open_folder
from tests.jobs.fakes import partition, ready


def told(tmp_path: Path, seconds: int, every_s: float = 1.0) -> dict[str, object]:
    """Two workers: one embeds 10 rows of 100 tokens a report, the other half as much; one attempt fails, and at half time the second dies."""
    folder = open_folder(str(tmp_path))
    start, meter = [("Ray started", 1.25, 1.5), ("first commit", 4.0, 5.51234)], Meter([partition(0)])
    record = RunRecord(folder, 100.0, kind="embed", version=3, device="cpu, float32", start=lambda: start)
    for worker in (0, 1):
        record.heard(worker, ready(host=f"host-{worker}"), 100.5)
    meter.workers = 2
    for tick in range(1, int(seconds / every_s) + 1):
        now_s = 100.0 + tick * every_s
        for worker in (0, 1) if now_s < 100 + seconds / 2 else (0,):
            event = Progress(0, "encode", 10 - 5 * worker, 100 - 50 * worker, now_s, {"encode": 0.5, "write": 0.1})
            record.heard(worker, event, now_s)
            meter.progress(event, now_s)
        record.look(meter.snapshot(now_s), now_s)
    record.heard(0, Failed(0, "storage", "slow"), now_s)
    record.heard(1, Died("gone"), now_s)
    record.end(meter.snapshot(now_s), now_s, seconds - 1.0)
    (found,) = read_records(folder)
    return found


def test_it_adds_up(tmp_path: Path) -> None:
    found = told(tmp_path, 20)
    run = describe_run(found)
    assert (found["rows"], found["tokens"], found["version"], found["ended"]) == (200 + 45, 2000 + 450, 3, True)
    assert [(worker["host"], worker["rows"]) for worker in run["workers"]] == [("host-0", 200), ("host-1", 45)]
    assert run["workers"][1]["to_s"] == 9 and run["retries"] == {"storage": 1, "lost": 1} and run["bound"] == "encoder"
    assert run["stage_shares"] == {"read": 0, "tokenize": 0, "encode": pytest.approx(5 / 6, abs=1e-3), "write": pytest.approx(1 / 6, abs=1e-3)}
    assert run["start"] == [{"step": "Ray started", "seconds": 1.25, "at_s": 1.5}, {"step": "first commit", "seconds": 4.0, "at_s": 5.512}]
    assert describe_run({key: value for key, value in found.items() if key != "start"})["start"] == [], "an earlier embermill took none down"
    assert run["tokens_per_s"] == pytest.approx(2450 / 19, abs=0.1) and worker_hours(found) == pytest.approx(40 / 3600)


def test_a_long_run_keeps_few_samples_and_loses_no_rows(tmp_path: Path) -> None:
    found = told(tmp_path, 3600)
    assert MOST_SAMPLES / 2 - 2 <= len(found["samples"]) <= MOST_SAMPLES + 1 and found["samples"][-1][1] == found["rows"]  # type: ignore[arg-type, index]
    points = speed_over_time([found])
    assert len(points) <= 102 and sum((point["to_s"] - point["from_s"]) * point["rows_per_s"] for point in points) == pytest.approx(found["rows"], rel=1e-2)


def test_of_many_workers_those_that_are_gone_and_did_least_are_forgotten(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    record = RunRecord(folder, 0.0, kind="embed", version=1, device="cpu")
    for worker in range(3 * MOST_WORKERS):
        record.heard(worker, ready(pid=worker), 1.0 + worker)
        rows = 1000 if worker == 5 else 10 + worker % 7
        record.heard(worker, Progress(0, "encode", rows, rows, 1.0, {}), 1.5 + worker)
        if worker:  # the first one lives
            record.heard(worker, Died("gone"), 1.9 + worker)
    record.end(Meter([partition(0)]).snapshot(1.0), 2000.0, 1.0)
    (found,) = read_records(folder)
    workers: list[dict[str, Any]] = found["workers"]  # type: ignore[assignment]
    numbers = {worker["worker"] for worker in workers}
    assert len(workers) == MOST_WORKERS and {0, 5, 3 * MOST_WORKERS - 1} <= numbers
    assert min(worker["rows"] for worker in workers if worker["worker"] not in (0, 3 * MOST_WORKERS - 1)) > 10


def test_a_slow_batch_is_no_pause_and_no_burst() -> None:
    samples = [[float(second), 100 * (second // 10), 1000 * (second // 10), 1] for second in range(41)]
    points = speed_over_time([{"samples": samples, "seconds": 40.0}])
    assert [(point["from_s"], point["to_s"], point["tokens_per_s"]) for point in points] == [(place, place + 10.0, 100.0) for place in (0.0, 10.0, 20.0, 30.0)]


def test_a_record_that_is_damaged_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told(tmp_path, 5)
    (file,) = (tmp_path / RUNS).iterdir()
    file.write_bytes(file.read_bytes().replace(b'"version": 3', b'"version": 4'))
    assert read_records(open_folder(str(tmp_path))) == [] and file.name in caplog.text
    write_record(open_folder(str(tmp_path)), f"{RUNS}/{file.name}", {"run": "x"})
    assert read_records(open_folder(str(tmp_path))) == []


def test_a_record_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "_embermill").mkdir()
    (tmp_path / "_embermill/runs").write_text("in the way")
    folder = open_folder(str(tmp_path))
    RunRecord(folder, 0.0, kind="embed", version=1, device="cpu").end(Meter([partition(0)]).snapshot(1.0), 1.0, 1.0)
