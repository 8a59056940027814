"""Ctrl-C where it may not come at any moment.

Raised while a module is being imported, it can leave the lock of all imports held for good (CPython: a callback of importlib's own that an exception passes
through, or that swallows it). Where only one thread imports nobody notices, since the lock is its own; any other would wait for ever.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP wait until the block has ended, and are KeyboardInterrupt then; a second one is at once. For what takes a moment.

    Outside the main thread signals are somebody else's; one that is ignored stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        noted.append(number)
        if len(noted) > 1:
            raise KeyboardInterrupt

    heeded = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.default_int_handler]
    try:
        for number in heeded:
            signal.signal(number, note)
        yield
    finally:
        for number in heeded:
            signal.signal(number, signal.default_int_handler)
    if noted:
        raise KeyboardInterrupt
