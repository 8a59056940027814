"""Signs of a worker that computes, for an engine whose answers are far apart: a large model takes minutes for one batch on one core, and is not stuck."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from embermill.jobs.engine import Engine

PULSE_S = 5.0


@contextlib.contextmanager
def pulse(engine: Engine, moved: Callable[[], None]) -> Iterator[None]:
    """Call `moved`, in a thread of its own, each time the engine has computed something since the last look; never where it does not say (tokens_computed)."""
    if not hasattr(engine, "tokens_computed"):
        yield
        return
    left = threading.Event()

    def watch() -> None:
        before: int = engine.tokens_computed
        while not left.wait(PULSE_S):
            if (now := engine.tokens_computed) != before:
                before = now
                moved()

    thread = threading.Thread(target=watch, name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
