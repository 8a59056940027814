"""Progress for the person at the keyboard, on stderr: a live bar on a terminal, plain log lines elsewhere, records where a program follows the log."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from embermill.counts import plural, several
from embermill.jobs.driver.progress_record import record
from embermill.jobs.driver.snapshot import Snapshot

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger("embermill.jobs.progress")
LINE_EVERY_S, RECORD_EVERY_S = 10.0, 5.0
KINDS = ("auto", "record")  # what --progress takes


class Display(Protocol):
    """A phase may be shown, and a snapshot, before the display's `with` block is entered: what is there to be started starts with the first of them."""

    def phase(self, words: str) -> None:
        """What is happening while there is nothing to count yet."""
        ...

    def show(self, snapshot: Snapshot, now_s: float) -> None: ...
    def __enter__(self) -> Display: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...


def open_display(kind: str = "auto") -> Display:
    """The one that fits stderr; kind: one of KINDS."""
    if kind == "record":
        return Records()
    return Bar() if sys.stderr.isatty() else Lines()


class Silent:
    """Nothing, for what takes a moment."""

    def phase(self, words: str) -> None:
        pass

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        pass

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        pass


class Lines:
    """A log line every ten seconds, one for each phase, and one for the first token, which a person waits for."""

    every_s = LINE_EVERY_S

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._has_tokens = False
        self._phase = ""

    def phase(self, words: str) -> None:
        if words != self._phase:
            self._phase = words
            log.info("%s", self._phase_line(words))

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        is_first = snapshot.tokens > 0 and not self._has_tokens
        if is_first or self._last_s is None or now_s - self._last_s >= self.every_s:
            self._last_s, self._has_tokens = now_s, snapshot.tokens > 0
            log.info("%s", self._line(snapshot))

    def _phase_line(self, words: str) -> str:
        return words

    def _line(self, snapshot: Snapshot) -> str:
        return describe(snapshot)

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        pass


class Records(Lines):
    """Lines that a program reads, too: whoever follows a submitted job shows from them what a run would show."""

    every_s = RECORD_EVERY_S

    def _phase_line(self, words: str) -> str:
        return record(words, words)

    def _line(self, snapshot: Snapshot) -> str:
        return record(describe(snapshot), snapshot)


class Bar:
    """One line that moves. Where the terminal is narrow the description is cut, never the percentage."""

    def __init__(self, console: Console | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        whole, rest = Column(no_wrap=True, min_width=4), Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns = (
            TextColumn("{task.percentage:>3.0f}%", table_column=whole), BarColumn(bar_width=16, table_column=Column(min_width=16)),
            TextColumn("{task.description}", table_column=rest),
        )  # fmt: skip
        self._progress = Progress(*columns, console=console or Console(stderr=True), transient=True, redirect_stdout=False, expand=True)
        self._task = self._progress.add_task("starting", total=1.0)

    def phase(self, words: str) -> None:
        self._progress.start()
        self._progress.update(self._task, description=words)

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        self._progress.update(self._task, completed=snapshot.done_share, description=describe(snapshot))

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._progress.stop()


def describe(snapshot: Snapshot) -> str:
    """One line: how far, how fast, how long still, and what holds it up. Before the first token: what is done about it."""
    partitions = f"{snapshot.partitions_done}/{several(snapshot.partitions, 'partition')}"
    if not snapshot.tokens and snapshot.workers:
        doing = "copying the first vectors" if snapshot.copies else "computing the first batch"
        return f"{several(snapshot.workers, 'worker')} ready, {doing} · {partitions}"
    pace = f"{snapshot.rows_per_s:,.0f} {snapshot.unit}s/s" if snapshot.copies else f"{snapshot.tokens_per_s:,.0f} tokens/s"
    parts = [
        several(snapshot.rows, snapshot.unit) + (" copied" if snapshot.copies else ""),
        pace,
        partitions,
        "" if snapshot.copies else f"{_short(snapshot.tokens_left)} {plural(snapshot.tokens_left, 'token')} to go",
        "" if snapshot.eta_s is None else f"{_duration(snapshot.eta_s)} left",
        f"bound by the {snapshot.bound}" if snapshot.bound else "",
    ]
    return " · ".join(part for part in parts if part)


def _short(number: int) -> str:
    """12,345,678 -> 12.3M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
