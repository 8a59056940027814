"""A load in a process of its own that kills itself: `python -m tests.jobs.index.targets.killed_load DATASET TARGET OPERATION UNIT_ROWS`.

Operations are counted as they end: each batch that is handed to the target, each delete, each commit.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from embermill.jobs.index.opening import parse_address, target_class
from embermill.jobs.index.running import Options, load


class Dying:
    def __init__(self, at: int) -> None:
        self.left = at

    def operation(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def stream(self, rows: Any) -> Iterator[Any]:
        for batch in rows:
            yield batch
            self.operation()  # the target has asked for the next one, or has all


def main(dataset: str, target: str, at: int, unit_rows: int) -> None:
    made: Any = target_class(parse_address(target))
    made.unit_rows = unit_rows
    dying = Dying(at)
    upsert, delete, commit = made.upsert, made.delete, made.commit

    def dying_upsert(self: Any, rows: Any, *, new: bool) -> None:
        upsert(self, pa.RecordBatchReader.from_batches(rows.schema, dying.stream(rows)), new=new)

    def dying_delete(self: Any, ids: Any) -> None:
        delete(self, ids)
        dying.operation()

    def dying_commit(self: Any, cursor: str) -> None:
        commit(self, cursor)
        dying.operation()

    made.upsert, made.delete, made.commit = dying_upsert, dying_delete, dying_commit
    load(dataset, target, Options())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
