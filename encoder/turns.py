"""Short turns of the interpreter's threads while a card is being fed.

A thread that wants the interpreter waits until another gives it up, for 5 ms at most where nobody asks otherwise. The thread that feeds a card asks some
ten times a batch, and the ones beside it make long lists of token ids: at 24 ms a batch the card stood idle for most of the time (decision 0003).
"""

from __future__ import annotations

import sys
import threading

TURN_S = 0.0005


class ShortTurns:
    """Between enter and leave, however many are inside of it, turns last TURN_S; then again what they lasted before. One for the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before_s = 0.0

    def enter(self) -> None:
        with self._lock:
            if not self._inside:
                self._before_s = sys.getswitchinterval()
                sys.setswitchinterval(min(TURN_S, self._before_s))
            self._inside += 1

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                sys.setswitchinterval(self._before_s)


SHORT_TURNS = ShortTurns()
