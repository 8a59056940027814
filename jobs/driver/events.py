"""`--events FILE`: one JSON line for each shard that is committed, at least once, for whoever follows a job with a program.

A line is written after the commit it tells of. A run that is killed in between leaves a commit without a line, and shards of a killed run are adopted
without anybody having told of them: so each run begins by writing what the file lacks. A reader takes a repeated line (same output, partition and ordinal)
for the same shard; a last line that is torn is ended and told again. A `sync` that is no run adds one line, `"event": "sync"`, once it is through.

After `redrive` other partitions stand in for some. For each shard of those that a line told of as committed, a line with `"event": "superseded"` takes it
back, once: what is committed and not superseded is what the dataset holds.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from embermill.jobs.errors import UsageError
from embermill.jobs.receipt import Receipt

FIELDS = ("partition", "ordinal", "shard", "quarantine", "rows_in", "rows_out", "rows_quarantined", "tokens", "tokens_dropped", "shard_bytes", "adopted")
ORDINALS = 1 << 32


class EventsFile:
    """path: appended to, and made where there is none. output: the dataset's root, which each line names. UsageError where it cannot be written."""

    def __init__(self, path: Path, output: str) -> None:
        self._path, self._output = path, output
        try:
            path.open("a").close()
        except OSError as error:
            raise UsageError(f"--events {path}: cannot be written: {error.strerror}: name a file in a folder that is there") from None

    def append(self, receipts: Iterable[Receipt]) -> None:
        self._write(json.dumps(self._describe(receipt)) for receipt in receipts)

    def tell_of_sync(self, told: Mapping[str, object]) -> None:
        """One line for a sync, whatever it did: what a scheduler alerts on. Its shards have no lines: their numbers start from 0 in each version."""
        self._write(iter([json.dumps(self._about("sync") | dict(told))]))

    def catch_up(self, receipts: Iterable[Receipt], superseded: Collection[int] = ()) -> None:
        """Tell of those that no line tells of yet, and take back what was told of partitions that others stand in for: superseded, by number."""
        told, taken_back = self._told()
        self._write(json.dumps(self._describe(receipt)) for receipt in receipts if receipt.partition * ORDINALS + receipt.ordinal not in told)
        gone = sorted(shard for shard in told - taken_back if shard // ORDINALS in superseded) if superseded else []
        self._write(json.dumps(self._about("superseded") | dict(zip(("partition", "ordinal"), divmod(shard, ORDINALS), strict=True))) for shard in gone)

    def _describe(self, receipt: Receipt) -> dict[str, object]:
        return self._about("committed") | {name: getattr(receipt, name) for name in FIELDS}

    def _about(self, event: str) -> dict[str, object]:
        return {"event": event, "time": datetime.now(UTC).isoformat(timespec="milliseconds"), "output": self._output}

    def _told(self) -> tuple[set[int], set[int]]:
        """Shards of this dataset that a line tells of, a number each: as committed, and as superseded."""
        told: dict[str, set[int]] = {"committed": set(), "superseded": set()}
        try:
            with self._path.open(encoding="utf-8", errors="replace") if self._path.is_file() else contextlib.nullcontext(()) as lines:
                for line in lines:
                    try:
                        event = json.loads(line)
                        if event["output"] == self._output:
                            told[event["event"]].add(event["partition"] * ORDINALS + event["ordinal"])
                    except (ValueError, KeyError, TypeError, RecursionError):
                        continue
        except PermissionError:  # it may be written and not read: all is told again
            return set(), set()
        return told["committed"], told["superseded"]

    def _write(self, lines: Iterator[str]) -> None:
        try:
            with self._path.open("a+" if self._path.is_file() else "a", encoding="utf-8") as file:  # a pipe cannot be looked at
                torn = _is_torn(file)
                file.writelines(("\n" if torn and number == 0 else "") + line + "\n" for number, line in enumerate(lines))
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> UsageError:
        advice = "free disk space there or name another file, and run again to resume from what is committed"
        return UsageError(f"--events {self._path}: cannot be written: {error.strerror or error}: {advice}")


def _is_torn(file: TextIO) -> bool:
    """Whether it ends in the middle of a line. A file that has no end (a pipe) does not."""
    if not file.seekable() or file.tell() == 0:
        return False
    file.buffer.seek(-1, 2)
    return file.buffer.read(1) != b"\n"
