"""Something that takes its time to open is opened by a thread of its own, while its owner does something else; the same thread closes it.

So must it be where the operating system looks at threads: what Ray starts on Linux is ended when the thread that started it ends (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import math
import time
from _thread import start_new_thread
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue

LOOK_EVERY_S = 0.01  # whether the thread has ended
GIVE_UP_AFTER_S = 5.0  # waiting for it, where Ctrl-C came: see process/interruptions.py for why it may never end. What it holds goes with the process
Opening = Callable[[Callable[[], None]], AbstractContextManager[object]]
"""What opens it. It is given a function to call between its steps, which raises Unwanted once nobody waits any more."""


class Unwanted(Exception):
    """Who wanted it has left before it was open: what is there of it is closed."""


class Beside:
    """Leave the `with` block and it is closed, or will never have been open.

    Ctrl-C may raise in its owner's thread anywhere, also between taking a lock and holding it by a `with`: none is shared here. Both sides put into queues
    that no interruption leaves locked, and set flags.
    """

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # to be done once it is open; None: its owner has left
        self._begun = self._left = self._over = False
        self._error: BaseException | None = None
        self.seconds: tuple[float, float] | None = None
        """When the opening was begun and when it was done, by time.monotonic(); None as long as it is not."""

    def __enter__(self) -> Beside:
        return self

    def begin(self) -> None:
        """Open it from now on."""
        if not self._begun:
            start_new_thread(self._hold, ())  # threading's own waits, behind a lock, until it runs
            self._begun = True

    def then(self, work: Callable[[], None]) -> None:
        """Do that, too, in the same thread, once it is open; whoever waits then waits for that as well."""
        self._work.put(work)

    def wait(self) -> None:
        """Until it is open, and all is done that was to be done then. Raises what either has raised."""
        done: SimpleQueue[None] = SimpleQueue()
        self._work.put(lambda: done.put(None))
        self.begin()
        while not self._over:
            with contextlib.suppress(Empty):
                done.get(timeout=LOOK_EVERY_S)
                break
        if self._error is not None:
            raise self._error

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._left = True
        self._work.put(None)
        end_s = time.monotonic() + (GIVE_UP_AFTER_S if kind is not None and issubclass(kind, KeyboardInterrupt) else math.inf)
        while self._begun and not self._over and time.monotonic() < end_s:
            time.sleep(LOOK_EVERY_S)
        if kind is None and self.seconds is not None and self._error is not None:
            raise self._error

    def _hold(self) -> None:
        begin_s = time.monotonic()
        try:
            with self._opening(self._require_wanted):
                self.seconds = begin_s, time.monotonic()
                while (work := self._work.get()) is not None and not self._left:
                    work()
        except BaseException as error:
            self._error = error
        finally:
            self._over = True

    def _require_wanted(self) -> None:
        if self._left:
            raise Unwanted
