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
Message = list[bytearray] | list[memoryview]
"""What was pickled, and behind it the buffers in it (of arrays, or a pickle.PickleBuffer), which are copied nowhere but through the pipe."""


def pack(content: Any) -> list[memoryview]:
    buffers = list[memoryview]()
    pickled = pickle.dumps(content, protocol=5, buffer_callback=lambda buffer: buffers.append(buffer.raw()))
    return [memoryview(pickled), *buffers]


def unpack(message: Message) -> Any:
    return pickle.loads(message[0], buffers=message[1:])


def write_message(file: IO[bytes], message: Message) -> None:
    file.write(_LENGTH.pack(len(message)) + b"".join(_LENGTH.pack(len(part)) for part in message))
    for part in message:
        file.write(part)
    file.flush()


def read_message(file: IO[bytes]) -> list[bytearray] | None:
    """None at the end of the file, within a message too."""
    head = bytearray(_LENGTH.size)
    if not _fill(file, head):
        return None
    lengths = bytearray(_LENGTH.size * _LENGTH.unpack(head)[0])
    if not _fill(file, lengths):
        return None
    parts = [bytearray(length) for (length,) in _LENGTH.iter_unpack(lengths)]
    return parts if all(_fill(file, part) for part in parts) else None


def _fill(file: IO[bytes], part: bytearray) -> bool:
    return bool(file.readinto(part) == len(part))  # type: ignore[attr-defined]  # of a BufferedReader, which reads as long as there is more to come


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    incoming: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_receive, args=(questions, incoming), daemon=True).start()
    sys.path[:] = unpack(incoming.get())
    answerer = _opened(incoming.get())
    while True:
        write_message(answers, _answer(answerer, incoming.get()))


def _receive(questions: IO[bytes], incoming: SimpleQueue[Message]) -> None:
    while (message := read_message(questions)) is not None:
        incoming.put(message)
    os._exit(0)


def _opened(hello: Message) -> Callable[..., Any]:
    """What answers. Where it cannot be made, it says so to each question."""
    try:
        opener, arguments = unpack(hello)
        module, _, name = opener.partition(":")
        answerer: Callable[..., Any] = getattr(import_module(module), name)(*arguments)
    except (Exception, SystemExit) as error:
        failed = error

        def fail(*question: Any) -> Any:
            raise failed

        return fail
    return answerer


def _answer(answerer: Callable[..., Any], question: Message) -> Message:
    """Packed: (answer, None), or (None, (exception, its traceback))."""
    try:
        return pack((answerer(*unpack(question)), None))
    except (Exception, SystemExit) as error:
        return pack((None, (_that_travels(error), "".join(traceback.format_exception(error)))))


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
