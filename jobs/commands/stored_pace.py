"""How fast a worker turns texts into stored shards here: reader, engine and writer as in a job, with no driver beside them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.engine.native import NativeEngine
from embermill.jobs.errors import DataError
from embermill.jobs.plan.planning import make_plan
from embermill.jobs.prepare import prepare
from embermill.jobs.receipt import Event, Failed, Progress, Receipt, Task
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import open_folder
from embermill.jobs.worker.cutting import LIMITS
from embermill.jobs.worker.pipeline import Pipeline
from embermill.jobs.worker.task_queue import TaskQueue
from embermill.jobs.worker.token_check import TokenCheck
from embermill.jobs.worker.writing import Work
from embermill.jobs.worker.writing_helpers import helpers_for

STAGES = {"read": "reader", "tokenize": "tokenizer", "encode": "encoder", "write": "writer"}
ROW_GROUP_ROWS = 4096


@dataclass(frozen=True)
class StoredPace:
    """seconds: from the first row that is read to the last shard that is published. busy: of these, by stage, which overlap. bound: the busiest stage."""

    rows: int
    tokens: int
    seconds: float
    rows_per_s: float
    tokens_per_s: float
    stored_bytes: int
    tokenizer: str
    busy: dict[str, float]
    bound: str


def measure_stored(engine: NativeEngine, kind: str, threads: int, source: str, texts: Sequence[str], copies: int, place: Path) -> StoredPace:
    """The texts, each `copies` times with another number at its end, as a corpus of Parquet files under `place`, and a dataset beside it.

    kind: of the engine's device. threads: of the CPU that it may use. source: its model.
    """
    corpus, output = place / "corpus", place / "dataset"
    corpus.mkdir()
    made = [text if copy == 0 else f"{text} {copy}" for copy in range(copies) for text in texts]
    pq.write_table(pa.table({"id": pa.array(range(len(made))).cast(pa.string()), "text": made}), corpus / "texts.parquet", row_group_size=ROW_GROUP_ROWS)
    config = JobConfig.model_validate({"model": {"source": source}, "corpus": {"files": [str(corpus / "*.parquet")]}, "output": {"uri": str(output)}})
    found = prepare(config)
    assert found.prospect is not None
    plan = make_plan(config, engine.fingerprint(), engine.outputs(), kind, engine.precision, files=found.prospect.files, tells_versions=True)
    folder, tasks, events = open_folder(str(output)), TaskQueue[Task](), list[Event]()
    work = Work(
        read=partial(read_rows, schema=plan.rows, unreadable={}), open_shard=partial(ShardWriter, folder, plan, **helpers_for(threads)),
        rows_per_shard=plan.rows_per_shard, limits=LIMITS[kind], tokens=TokenCheck(engine, folder),
    )  # fmt: skip
    for partition in plan.partitions:
        tasks.put(Task(partition))
    tasks.finish()
    begin = time.monotonic()
    Pipeline(engine, work, events.append).run(tasks)
    return _pace(events, time.monotonic() - begin)


def _pace(events: list[Event], seconds: float) -> StoredPace:
    if failed := next((event for event in events if isinstance(event, Failed)), None):
        raise DataError(f"bench: {failed.message}")
    receipts = [event for event in events if isinstance(event, Receipt)]
    busy: Counter[str] = Counter()
    for event in events:
        if isinstance(event, Progress):
            busy.update(event.seconds)
    rows, tokens = sum(each.rows_out for each in receipts), sum(each.tokens for each in receipts)
    return StoredPace(
        rows=rows,
        tokens=tokens,
        seconds=round(seconds, 3),
        rows_per_s=rows / seconds,
        tokens_per_s=tokens / seconds,
        stored_bytes=sum(each.shard_bytes for each in receipts),
        tokenizer=next((each.provenance.get("tokenizer", "") for each in receipts), ""),
        busy={STAGES[stage]: round(spent, 3) for stage, spent in busy.items()},
        bound=STAGES[max(busy, key=lambda stage: busy[stage])] if busy else "",
    )
