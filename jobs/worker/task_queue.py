"""What a worker still has to do."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class TaskQueue(Generic[Item]):
    """Put from one side, taken from the other, by one stream after another; finished when no more will come."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._finished = False

    def put(self, item: Item) -> None:
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def put_back(self, items: list[Item]) -> None:
        """To the front, in their order."""
        with self._changed:
            self._items.extendleft(reversed(items))
            self._changed.notify_all()

    @property
    def empty(self) -> bool:
        return not self._items

    def take(self, timeout_s: float | None, left: Callable[[], bool] = lambda: False) -> Item | None:
        """The next one; None where none came in time (timeout_s None: where none will), or once the taker has `left`: who makes that true calls wake()."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._items or left(), timeout_s)
            return self._items.popleft() if self._items and not left() else None

    def wake(self) -> None:
        """Whoever waits in take looks again whether it has left."""
        with self._changed:
            self._changed.notify_all()

    def wait(self) -> bool:
        """Until there is something to take; False once the queue is finished and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._items)
            return bool(self._items)

    def finish(self) -> None:
        """No more will come: what is there can still be taken."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()
