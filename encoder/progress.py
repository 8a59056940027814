"""A progress bar on standard error for a long `encode`, where it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]


def wanted(show: bool | None) -> bool:
    """None: as in sentence-transformers, where the log shows INFO or DEBUG."""
    return logging.getLogger("embermill").getEffectiveLevel() in (logging.INFO, logging.DEBUG) if show is None else show


@contextmanager
def progress_bar(total: int) -> Iterator[Advance]:
    """A call that says how many texts more are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("texts", total=total)
        yield lambda count: bar.advance(task, count)
