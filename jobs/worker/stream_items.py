"""What travels through a stream's channels: batches of rows, ends of shards, and what became of a partition."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from embermill.jobs.engine import Embedded
from embermill.jobs.receipt import Failed, Task
from embermill.jobs.worker.cutting import ShardEnd, ShardRows


@dataclass(eq=False)
class Attempt:
    """One partition on its way through a stream."""

    task: Task
    published: set[int] = field(default_factory=set)
    over: bool = False  # finished or failed: nothing more of it is wanted
    ended: bool = False  # the driver was told of its end
    tokenizer: str = ""  # that its texts go to

    @property
    def number(self) -> int:
        return self.task.partition.number

    def rest(self) -> Task:
        return replace(self.task, skip=self.task.skip | self.published, isolate=False)


@dataclass(frozen=True)
class Rows:
    attempt: Attempt
    rows: ShardRows
    embedded: Embedded | None = None


@dataclass(frozen=True)
class End:
    attempt: Attempt
    end: ShardEnd


@dataclass(frozen=True)
class Broken:
    attempt: Attempt
    failed: Failed


@dataclass(frozen=True)
class Through:
    attempt: Attempt


Item = Rows | End | Broken | Through

def has_texts(item: Item) -> bool:
    return isinstance(item, Rows) and len(item.rows.batch.texts) > 0
