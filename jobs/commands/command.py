"""What a command of the command line is: a name, arguments, an answer and its words."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Answer = dict[str, Any]  # one JSON object


@dataclass(frozen=True)
class Command:
    """`answer` does the work and gives the object that --json prints; `show` puts that object into words."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    answer: Callable[[argparse.Namespace], Answer]
    show: Callable[[Answer], str]
    description: str = ""


@contextlib.contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where that is a terminal, that is gone afterwards; call it with (done, of all)."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def positive_rate(text: str) -> float:
    """An argument that is so much in a second."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def filled(text: str) -> str:
    """An argument that names something: the empty string would be taken for the folder one is in."""
    if not text:
        raise argparse.ArgumentTypeError("expected a name, got an empty one")
    return text


def positive(text: str) -> int:
    """An argument that counts something."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, got {text}")
    return number
