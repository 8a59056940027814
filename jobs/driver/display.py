"""Progress for the person at the keyboard, on stderr: a live bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Protocol

from embermill.jobs.driver.progress import Snapshot

log = logging.getLogger("embermill.jobs.progress")
LINE_EVERY_S = 10.0


class Display(Protocol):
    def show(self, snapshot: Snapshot, now_s: float) -> None: ...
    def __enter__(self) -> Display: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...


def open_display() -> Display:
    """The one that fits stderr."""
    return Bar() if sys.stderr.isatty() else Lines()


class Silent:
    """Nothing, for what takes a moment."""

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        pass

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        pass


class Lines:
    """A log line every ten seconds."""

    def __init__(self) -> None:
        self._last_s: float | None = None

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        if self._last_s is None or now_s - self._last_s >= LINE_EVERY_S:
            self._last_s = now_s
            log.info("%s", describe(snapshot))

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        pass


class Bar:
    """One line that moves."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("{task.percentage:>3.0f}%"), BarColumn(bar_width=24), TextColumn("{task.description}"))
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False)
        self._task = self._progress.add_task("starting", total=1.0)

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        self._progress.update(self._task, completed=snapshot.done_share, description=describe(snapshot))

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._progress.stop()


def describe(snapshot: Snapshot) -> str:
    """One line: how far, how fast, how long still, and what holds it up."""
    parts = [
        f"{snapshot.rows:,} documents",
        f"{snapshot.tokens_per_s:,.0f} tokens/s",
        f"{snapshot.partitions_done}/{snapshot.partitions} partitions",
        f"{_short(snapshot.tokens_left)} tokens to go",
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
