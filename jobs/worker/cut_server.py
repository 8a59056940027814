"""The program of a CutProcess: from stdin what a worker's cutter is made from, then again and again a batch of documents; to stdout its chunks.

It is run as a file, so that the worker's main module is not imported once more; what it imports comes after the worker's own search path. It ends with its
input, at once and whatever it is at: a worker that is killed leaves none behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import struct
import sys
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import IO, Any

_LENGTH = struct.Struct("<q")


def write_frame(file: IO[bytes], content: bytes) -> None:
    file.write(_LENGTH.pack(len(content)))
    file.write(content)
    file.flush()


def read_frame(file: IO[bytes]) -> bytes | None:
    """None at the end of the file, within a frame too."""
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    content = file.read(length)
    return content if len(content) == length else None


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    incoming: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(questions, incoming), daemon=True).start()
    sys.path[:] = pickle.loads(incoming.get())
    cut = _opened(incoming.get())
    while True:
        write_frame(answers, _answer(cut, incoming.get()))


def _receive(questions: IO[bytes], incoming: SimpleQueue[bytes]) -> None:
    while (frame := read_frame(questions)) is not None:
        incoming.put(frame)
    os._exit(0)


def _opened(hello: bytes) -> Callable[[bytes], Any]:
    """What answers. Where no cutter can be made, it says so to each question."""
    try:
        from embermill.jobs.worker.chunk_rows import open_cutting

        config, device, search_path = pickle.loads(hello)
        cut = open_cutting(config, device, search_path)
    except Exception as error:
        failed = error

        def fail(question: bytes) -> Any:
            raise failed

        return fail
    return lambda question: cut(*pickle.loads(question))


def _answer(cut: Callable[[bytes], Any], question: bytes) -> bytes:
    """Pickled: (batch, None), or (None, (exception, its traceback))."""
    try:
        return pickle.dumps((cut(question), None), protocol=5)
    except Exception as error:
        return pickle.dumps((None, (_that_travels(error), "".join(traceback.format_exception(error)))))


def _that_travels(error: Exception) -> Exception:
    """A class of the user's may not be known to the worker, and an exception may not be made again from its arguments."""
    if type(error).__module__.partition(".")[0] in ("builtins", "embermill"):
        with contextlib.suppress(Exception):
            pickle.loads(pickle.dumps(error))
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with its worker
    logging.disable(logging.WARNING)  # of a tokenizer, say: the worker has said it
    with os.fdopen(os.dup(0), "rb") as questions, os.fdopen(os.dup(1), "wb") as answers, contextlib.suppress(BrokenPipeError):
        os.dup2(2, 1)  # a splitter of the user's own may print
        serve(questions, answers)


if __name__ == "__main__":
    _main()
