"""Standard output belongs to the answer: who may write to it, and what it means where it cannot be written."""

from __future__ import annotations

import contextlib
import os
import sys

from embermill.jobs.errors import UsageError


class AnswerLost(UsageError):
    """Standard output takes no answer: no disk space is left for it, or it is closed."""


def claim_standard_output() -> None:
    """From here on sys.stdout is for the answer alone: file descriptor 1, also that of the processes that Ray starts, leads to stderr.

    Raises AnswerLost where the process was started with its standard output closed, before any work is done for an answer that nobody gets.
    """
    closed = sys.stdout is None
    _open_what_is_closed()
    if closed:
        raise AnswerLost("standard output is closed, and the answer goes there: leave it open, or redirect it (to /dev/null, if nobody wants the answer)")
    sys.stdout.flush()
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = os.fdopen(answers, "w", encoding="utf-8", errors="backslashreplace")


def write_answer(text: str) -> None:
    """A line, or lines, on stdout, out of the process's hands. A reader that has seen enough and left is no error; else raises AnswerLost."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _drop_what_is_buffered()
    except OSError as error:
        _drop_what_is_buffered()
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = "free disk space, or send the answer elsewhere, and run the same command again (what it wrote to other places stands)"
        raise AnswerLost(f"standard output cannot be written: {reason}: {advice}") from error


def _open_what_is_closed() -> None:
    """A standard descriptor that is closed would be the next file's, and stray words would go into that file: it leads to nowhere instead."""
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError):
            if stream is None and not _is_open(number):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - for as long as the process lives


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _drop_what_is_buffered() -> None:
    """What is left in the buffer cannot be written at exit either: Python would try, and end with an exit code of its own."""
    with contextlib.suppress(OSError, ValueError):  # a stream that is no file has nothing to drop
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
