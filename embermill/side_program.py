"""The program of a SideProcess: from stdin which function makes the answerer and of what, then again and again a question; to stdout its answers.

It is run as a file, so that the main module of whoever started it is not imported once more; what it imports comes after that one's own search path. It
ends with its input, as soon as what it is at lets another thread of it have the interpreter: a process that is killed leaves none behind.
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
from importlib import import_module
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
    answerer = _opened(incoming.get())
    while True:
        write_frame(answers, _answer(answerer, incoming.get()))


def _receive(questions: IO[bytes], incoming: SimpleQueue[bytes]) -> None:
    while (frame := read_frame(questions)) is not None:
        incoming.put(frame)
    os._exit(0)


def _opened(hello: bytes) -> Callable[..., Any]:
    """What answers. Where it cannot be made, it says so to each question."""
    try:
        opener, arguments = pickle.loads(hello)
        module, _, name = opener.partition(":")
        answerer: Callable[..., Any] = getattr(import_module(module), name)(*arguments)
    except (Exception, SystemExit) as error:
        failed = error

        def fail(*question: Any) -> Any:
            raise failed

        return fail
    return answerer


def _answer(answerer: Callable[..., Any], question: bytes) -> bytes:
    """Pickled: (answer, None), or (None, (exception, its traceback))."""
    try:
        return pickle.dumps((answerer(*pickle.loads(question)), None), protocol=5)
    except (Exception, SystemExit) as error:
        return pickle.dumps((None, (_that_travels(error), "".join(traceback.format_exception(error)))))


def _that_travels(error: BaseException) -> Exception:
    """A class of the user's may not be known to whoever asks, and an exception may not be made again from its arguments."""
    if isinstance(error, Exception) and type(error).__module__.partition(".")[0] in ("builtins", "embermill"):
        with contextlib.suppress(Exception):
            pickle.loads(pickle.dumps(error))
            return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with whoever started it
    logging.disable(logging.WARNING)  # of a tokenizer, say: whoever started it has said it
    with os.fdopen(os.dup(0), "rb") as questions, os.fdopen(os.dup(1), "wb") as answers, contextlib.suppress(BrokenPipeError):
        os.dup2(2, 1)  # a function of the user's own may print
        serve(questions, answers)


if __name__ == "__main__":
    _main()
