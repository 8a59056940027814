"""What an export has written: one JSON file in its folder, replaced after each piece, and a lock on it while somebody writes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embermill.jobs.bookkeeping.stored_keys import describe_changes
from embermill.jobs.errors import AnotherRun, DataError, UsageError

NAME = "_embermill_export.json"
LOCK = "_embermill_export.lock"


class State:
    """made: what decides the result (dataset, version, format, options). root: where the dataset lies, for messages. pieces: (name, rows) of what is written
    for good, in row order."""

    def __init__(self, out: Path, made: dict[str, Any], root: str) -> None:
        self.out, self.made, self.root = out, made, root
        self.pieces: list[tuple[str, int]] = []
        self.is_finished = False
        self.beside: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self.pieces)

    def note(self, name: str, rows: int) -> None:
        """A piece is written, durably."""
        self.pieces.append((name, rows))
        self._write()

    def finish(self, beside: tuple[str, ...]) -> None:
        """All is there. beside: names of what describes the rows."""
        self.is_finished, self.beside = True, beside
        self._write()

    def _write(self) -> None:
        stored = {"made": self.made, "root": self.root, "finished": self.is_finished, "beside": self.beside, "pieces": self.pieces}
        replace_file(self.out / NAME, (json.dumps(stored, indent=1) + "\n").encode())


@contextlib.contextmanager
def open_state(out: Path, made: dict[str, Any], root: str) -> Iterator[State]:
    """What stands in the folder, which is made where it is missing; held against others until the end.

    UsageError where it holds something else, or an export of something else; AnotherRun where another process writes there; DataError for a damaged state.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not (out / NAME).exists() and (strangers := sorted(path.name for path in out.iterdir() if path.name not in (LOCK, f".{NAME}.tmp"))):
        raise UsageError(f"--out {out}: holds {strangers[0]}, and no export of ours: expected a new or an empty folder")
    with (out / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AnotherRun(f"{out}: another export is writing there: wait for it, or name another folder") from None
        state = State(out, made, root)
        if (out / NAME).exists():
            _take_up(state)
        else:
            state._write()
        yield state
    (out / LOCK).unlink(missing_ok=True)


def replace_file(path: Path, data: bytes) -> None:
    """All of it or nothing, durably."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _take_up(state: State) -> None:
    path = state.out / NAME
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        standing, state.pieces = {key: stored["made"].get(key) for key in state.made}, [(str(name), int(rows)) for name, rows in stored["pieces"]]
        state.is_finished, state.beside = bool(stored["finished"]), tuple(stored["beside"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is damaged ({error}): remove {state.out} and export again") from None
    if standing != state.made:
        raise UsageError(f"--out {state.out}: {_standing(standing, stored.get('root'), state)}: name another folder, or remove that one")


def _standing(standing: dict[str, Any], root: str | None, state: State) -> str:
    """What is there instead. root: of its dataset; None: an earlier version of embermill did not say."""
    if standing["dataset"] == state.made["dataset"]:
        asked = state.made if standing["format"] == state.made["format"] else state.made | {"options": standing["options"]}  # each format has its own
        return f"holds another export of {state.root}: {'; '.join(describe_changes(standing, asked))}"
    if root == state.root:
        return f"holds an export of another dataset, which was at {root} before this one was made there"
    return "holds an export of another dataset" + (f" ({root})" if root else "")
