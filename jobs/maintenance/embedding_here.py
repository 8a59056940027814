"""Shards of a dataset embedded again in this process, as a worker would: what `repair` puts in the place of lost ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.rows import RowBatch
from embermill.jobs.engine import Engine
from embermill.jobs.engine.late import engine_of_chunks
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.receipt import Event, Task
from embermill.jobs.worker.chunk_rows import reader_of_chunks
from embermill.jobs.worker.cutting import LIMITS
from embermill.jobs.worker.pipeline import Pipeline
from embermill.jobs.worker.task_queue import TaskQueue
from embermill.jobs.worker.writing import ShardSink, Work


def embed_here(
    engine: Engine,
    config: JobConfig,
    plan: Plan,
    read: Callable[[Partition], Iterator[RowBatch]],
    open_shard: Callable[[Partition, int], ShardSink],
    tasks: Iterable[Task],
) -> list[Event]:
    """read: rows of the corpus, as plan.rows.of_documents has them; where the dataset is of chunks, they are cut."""
    device = config.workers.device if config.workers.device != "auto" else plan.device_kind
    work = Work(
        read=reader_of_chunks(config, device, plan.rows, read, (str(Path.cwd()),)),
        open_shard=open_shard,
        rows_per_shard=plan.rows_per_shard,
        limits=LIMITS[device],
        refuse_long_texts=config.model.on_long_text == "error",
    )
    return run_here(engine_of_chunks(config, engine), work, tasks)


def run_here(engine: Engine, work: Work, tasks: Iterable[Task]) -> list[Event]:
    queue, events = TaskQueue[Task](), list[Event]()
    for task in tasks:
        queue.put(task)
    queue.finish()
    Pipeline(engine, work, events.append).run(queue)
    return events
