"""A short switch interval of the interpreter while a GPU is being fed (sys.setswitchinterval).

A thread that wants the interpreter waits until another gives it up, up to 5 ms where nobody asks otherwise. The threads that feed a GPU ask some ten
times a batch, and the ones beside them make long lists of token ids: with an interval of 0.5 ms text went in a tenth faster (decision 0005).
"""

from __future__ import annotations

import sys
import threading

INTERVAL_S = 0.0005


class ShortSwitchInterval:
    """Between enter and leave, however many are inside of it, the interval is INTERVAL_S; then again what it was before. One for the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before_s = 0.0

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._before_s = sys.getswitchinterval()
                sys.setswitchinterval(min(INTERVAL_S, self._before_s))
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                sys.setswitchinterval(self._before_s)


SHORT_SWITCH_INTERVAL = ShortSwitchInterval()
