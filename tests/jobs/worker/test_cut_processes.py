"""Cutting by several processes: the rows are those of the thread that reads, in their order, and faults come where they came; one that is lost is named."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embermill.jobs.chunking.own_splitter import BadSpans, checked_spans
from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.rows import Origin, Refusal, RowBatch, RowSchema
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.driver.summary import Summary
from embermill.jobs.errors import UsageError
from embermill.jobs.process.device_tuning import cutting_processes
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.worker import cut_processes, worker
from embermill.jobs.worker.chunk_rows import reader_of_chunks
from embermill.jobs.worker.cut_processes import CutProcesses, CutterLost, open_processes
from embermill.jobs.worker.cutting import join
from tests.jobs import late_chunks
from tests.jobs.command_line import open_inline_pool
from tests.jobs.sync.corpus import Corpus
from tests.jobs.test_chunked_job import words

SCHEMA = RowSchema(
    "id", "id", pa.string(), ("text",), "\n", (("lang", "lang", pa.string()),), 1 << 26, "fail", document_column="document_id", document_type="string",
    prefix=("title",), holds_chunk_text=True,
)  # fmt: skip
NOWHERE: Any = None  # the partition that is read: batches are given


def config(chunk: dict[str, Any] | None = None, engine: str = "WordPieceEngine") -> JobConfig:
    values: dict[str, dict[str, Any]] = {
        "model": {"engine": f"python:tests.jobs.chunk_engine:{engine}", "on_long_text": "split"},
        "chunk": {"overlap_tokens": 20, "prefix_columns": ["title"], "headings": True, "rules": "markdown"} | (chunk or {}),
        "corpus": {"files": ["none"]},
        "output": {"uri": "out"},
    }
    return JobConfig.model_validate(values)


@pytest.fixture(scope="module")
def documents() -> list[RowBatch]:
    """Three batches of documents of one partition, from nothing to 2,000 words, of many letters; some rows are refused already, and one batch is empty."""
    chosen, found, row = random.Random(7), list[RowBatch](), 0
    ends = ["", " " + "\u0416" * 300, "\r\n\u6f22\u5b57\u3002" * 40, "\n# A heading\n\nand text\n", "e\u0301 \U0001f469\u200d\U0001f467"]
    for size in (17, 0, 9):
        texts = [words(chosen.choice([0, 3, 50, 400, 2000]), number) + chosen.choice(ends) for number in range(size)]
        rows = np.array([row + place + place // 4 for place in range(size)], np.int64)  # one in five is refused
        count = int(rows[-1]) + 1 - row if size else 2
        bad = sorted({*range(row, row + count)} - {*rows.tolist()})
        refused = tuple(Refusal(each, 1, f"bad {each}", "a.jsonl", None, 100 * each, "null_text", "nothing", None) for each in bad)
        found.append(
            RowBatch(
                row, count, rows, pa.array([f"document {each}" for each in rows], pa.string()), pa.array(texts, pa.string()),
                (pa.array(["en"] * size, pa.string()), pa.array([f"title {each}" if each % 3 else None for each in rows], pa.string())), refused,
                (Origin(row, "a.jsonl", None, 100 * np.arange(row, row + count), count),),
            )
        )  # fmt: skip
        row += count
    return found


def chunks(job: JobConfig, batches: Sequence[RowBatch] | Iterator[RowBatch], processes: CutProcesses | None) -> list[RowBatch]:
    return [*reader_of_chunks(job, "cpu", SCHEMA, lambda partition: iter(batches), (), processes)(NOWHERE)]


def require_equal(found: list[RowBatch], expected: list[RowBatch]) -> None:
    one, other = join(found), join(expected)
    for name in ("first_row", "num_rows", "ids", "texts", "kept", "refused"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.rows.tolist() == other.rows.tolist() and one.chunks is not None and other.chunks is not None
    for name in ("documents", "dropped", "unknown_words"):
        assert getattr(one.chunks, name).tolist() == getattr(other.chunks, name).tolist(), name
    assert one.chunks.columns == other.chunks.columns
    assert [one.locate(row) for row in range(one.num_rows)] == [other.locate(row) for row in range(one.num_rows)]


OWN = "python:tests.jobs.worker.test_cut_processes"
CHUNKS: list[dict[str, Any]] = [{}, {"on_blob": "refuse"}, {"splitter": f"{OWN}:by_lines", "headings": False, "overlap_tokens": 0}]


@pytest.mark.parametrize(
    ("chunk", "count"), [(CHUNKS[0], 2), *(pytest.param(chunk, count, marks=pytest.mark.long) for chunk in CHUNKS for count in (1, 3))]
)
def test_the_rows_are_those_of_the_thread_that_reads(documents: list[RowBatch], chunk: dict[str, Any], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    job = config(chunk)
    expected = chunks(job, documents, None)
    processes = open_processes(job, "cpu", (), count)
    assert processes is not None and len(processes.pids) == count and open_processes(job, "cpu", (), 0) is None
    for block_bytes, most in ((1, 100), (5000, 1 << 30), (1 << 30, 1 << 30)):
        monkeypatch.setattr(cut_processes, "BLOCK_BYTES", block_bytes)
        monkeypatch.setattr(cut_processes, "MOST_WAITING_BYTES", most)
        require_equal(chunks(job, documents, processes), expected)
    processes.close()


def by_lines(text: str) -> list[tuple[int, int]]:
    """What it prints stays out of the answers."""
    print("cutting")
    at = [0, *(place + 1 for place, letter in enumerate(text) if letter == "\n"), len(text)]
    return [(start, end) for start, end in pairwise(at) if start < end]


class OfOnesOwn(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def failing(text: str) -> list[tuple[int, int]]:
    if "POISON" in text:
        raise ValueError("poisoned")
    if "OWN" in text:
        raise OfOnesOwn(1, 2)
    if "EXIT" in text:
        sys.exit(3)
    if "DEATH" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    return [(0, len(text))] if text else []


def batch(*texts: str) -> RowBatch:
    size = len(texts)
    return RowBatch(
        0, size, np.arange(size), pa.array([f"document {row}" for row in range(size)]), pa.array(texts), (pa.array(["en"] * size), pa.array(["t"] * size)), (),
        (Origin(0, "a.jsonl", np.arange(size), None, size),),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fails() -> Iterator[tuple[JobConfig, CutProcesses]]:
    job = config({"splitter": f"{OWN}:failing", "headings": False, "overlap_tokens": 0})
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cut_processes, "BLOCK_BYTES", 1)
        processes = CutProcesses(job, "cpu", (), 2)
        yield job, processes
        processes.close()


LONG = "alpha beta " * 1000


def test_a_splitter_that_returns_no_list_is_told_so() -> None:
    with pytest.raises(BadSpans, match=r"^expected a list of pairs \(start, end\), the splitter returned None$"):
        checked_spans(lambda text: None, LONG)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize(("word", "said"), [("POISON", "ValueError: poisoned"), ("OWN", "OfOnesOwn: 1 and 2"), ("EXIT", "SystemExit: 3")])
def test_a_document_that_a_splitter_raises_on_is_refused_alone(fails: tuple[JobConfig, CutProcesses], word: str, said: str, beside: bool) -> None:
    job, processes = fails
    made = join(chunks(job, [batch(LONG, f"{word} {LONG}", LONG)], processes if beside else None))
    assert made.chunks is not None and [*dict.fromkeys(made.chunks.documents.tolist())] == [0, 2]
    (refusal,) = made.refused
    assert refusal.reason == "not_cut" and f"the splitter raised {said} (test_cut_processes.py, line " in refusal.error


def test_what_reading_raises_comes_after_the_rows_before_it(fails: tuple[JobConfig, CutProcesses]) -> None:
    job, processes = fails

    def read() -> Iterator[RowBatch]:
        yield batch(LONG, LONG)
        raise OSError("the disk is gone")

    found = reader_of_chunks(job, "cpu", SCHEMA, lambda partition: read(), (), processes)(NOWHERE)
    assert [next(found).num_rows > 1 for _ in range(2)] == [True, True]
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)


def test_a_process_that_is_killed_is_named_and_replaced(fails: tuple[JobConfig, CutProcesses]) -> None:
    job, processes = fails
    with pytest.raises(CutterLost, match=r"ended by SIGKILL while it had 1 of them, the first of them 'document 1'"):
        chunks(job, [batch(LONG, f"DEATH {LONG}")], processes)
    chunks(job, [batch(*[LONG] * 8)], processes)
    for pid in processes.pids:
        os.kill(pid, signal.SIGKILL)  # while it waits
    time.sleep(0.2)
    require_equal(chunks(job, [batch(LONG, LONG)], processes), chunks(job, [batch(LONG, LONG)], None))


@pytest.mark.long
def test_where_no_cutter_can_be_made_each_batch_says_why() -> None:
    processes = CutProcesses(config(engine="NoLimit"), "cpu", (), 1)
    for _ in range(2):
        with pytest.raises(UsageError, match="names no limit"):
            chunks(config(), [batch(LONG)], processes)
    processes.close()


def test_where_no_process_can_be_started_the_worker_cuts(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert open_processes(config(), "cpu", (), 2) is None and "the worker cuts them itself" in caplog.text


@pytest.mark.long
def test_few_blocks_wait(documents: list[RowBatch], monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the partition, and although nobody takes the rows."""
    monkeypatch.setattr(cut_processes, "BLOCK_BYTES", 1)
    processes, taken = CutProcesses(config(), "cpu", (), 2), list[int]()

    def read() -> Iterator[RowBatch]:
        for number in range(100):
            taken.append(number)
            yield batch(LONG)

    found = reader_of_chunks(config(), "cpu", SCHEMA, lambda partition: read(), (), processes)(NOWHERE)
    next(found)
    assert len(taken) == 2 * cut_processes.WAITING_FOR_EACH + 1
    monkeypatch.setattr(cut_processes, "MOST_WAITING_BYTES", 3 * len(LONG))
    next(found)
    assert len(taken) == 2 * cut_processes.WAITING_FOR_EACH + 1
    processes.close()


KILLED = """
import sys, time
from tests.jobs.worker.test_cut_processes import LONG, batch, chunks, config
from embermill.jobs.worker.cut_processes import CutProcesses
if __name__ != "__main__":
    raise SystemExit("imported once more")
processes = CutProcesses(config(), "cpu", (), 2)
chunks(config(), [batch(LONG, LONG)], processes)
print(*processes.pids, flush=True)
chunks(config(), [batch(*["\u6f22\u5b57" * 3_000_000] * 4)], processes)  # for longer than the test waits
"""


@pytest.mark.long
def test_none_is_left_when_the_worker_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(KILLED, encoding="utf-8")
    root = str(Path(__file__).parents[3])
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": root}) as killed:
        assert killed.stdout is not None
        pids = [int(pid) for pid in killed.stdout.readline().split()]
        assert len(pids) == 2
        time.sleep(0.3)
        assert killed.poll() is None
        killed.kill()
    until = time.monotonic() + 20
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < until, "a process that cuts outlived its worker"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_a_worker_with_fewer_cpus_has_fewer_processes_or_none() -> None:
    assert [cutting_processes("gpu", threads) for threads in (1, 2, 3, 4, 8, 16)] == [0, 0, 0, 2, 5, 10]
    assert [cutting_processes("cpu", threads) for threads in (1, 2, 4, 8, 16)] == [0, 0, 0, 1, 2]


def ways(monkeypatch: pytest.MonkeyPatch, job: Callable[[int], JobConfig]) -> list[Summary]:
    """The same job with none of them, one and three: shards are equal byte for byte."""
    found, started, opened = list[Summary](), list[int](), cut_processes.open_processes

    def open_them(config: JobConfig, device: str, search_path: Sequence[str], count: int) -> CutProcesses | None:
        started.append(count)
        return opened(config, device, search_path, count)

    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    monkeypatch.setattr(cut_processes, "BLOCK_BYTES", 3000)
    monkeypatch.setattr(worker, "open_processes", open_them)
    for count in (0, 1, 3):
        monkeypatch.setattr(worker, "cutting_processes", lambda device, threads, count=count: count)
        found.append(run(job(count)))
    assert started == [0, 1, 3]
    assert [differences(open_folder(each.output), open_folder(found[0].output)) for each in found[1:]] == [[], []]
    return found


@pytest.mark.long
def test_a_job_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").mkdir()
    rows = [json.dumps({"id": str(number), "text": words(number * 20, number)}) for number in range(60)]
    (tmp_path / "corpus/a.jsonl").write_text("\n".join([*rows[:40], "{", *rows[40:]]) + "\n")

    def job(count: int) -> JobConfig:
        values: dict[str, dict[str, Any]] = config().model_dump(mode="json") | {
            "corpus": {"files": [str(tmp_path / "corpus")], "partition_text_bytes": 20_000, "max_quarantined": 1},
            "chunk": {"keep_text": True},
            "output": {"uri": str(tmp_path / f"out-{count}"), "shard_bytes": 6000},
            "workers": {"count": 1, "device": "cpu"},
        }
        return JobConfig.model_validate(values)

    for summary in ways(monkeypatch, job):
        assert summary.documents == 60 and summary.rows_quarantined == 1 and summary.rows_out > 200


@pytest.mark.long
def test_chunks_in_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late_chunks.write_model(tmp_path / "model")
    Corpus(tmp_path / "corpus").write("a.jsonl", late_chunks.documents(20))
    assert all(summary.rows_out > 200 for summary in ways(monkeypatch, lambda count: late_chunks.settings(tmp_path, f"out-{count}")))
