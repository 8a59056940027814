"""A bounded queue between two threads that either side may leave: the other is woken and told, never left waiting.

The same words as encoder/channel.py, which the job cannot import. There whoever is left gets an exception; here that is nothing out of the ordinary.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Channel(Generic[Item]):
    """First in, first out, at most `capacity` items at a time."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._finished = False

    def put(self, item: Item) -> bool:
        """Waits while the channel is full. False once it is finished or closed: nobody will take the item."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or len(self._items) < self._capacity)
            if not self._finished:
                self._items.append(item)
                self._changed.notify_all()
            return not self._finished

    def __iter__(self) -> Iterator[Item]:
        """The next items, each waited for, until none will come."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._finished or self._items)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def wait(self, left: Callable[[], bool]) -> bool:
        """Until there is an item; False where none will come, or once the reader has `left`: who makes that true calls wake()."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._items or left())
            return bool(self._items) and not left()

    def take(self) -> Item | None:
        """The next item, None where there is none now."""
        with self._changed:
            if not self._items:
                return None
            self._changed.notify_all()
            return self._items.popleft()

    def wake(self) -> None:
        """Whoever waits looks again whether it has left."""
        with self._changed:
            self._changed.notify_all()

    def finish(self) -> None:
        """The writer is done: what is there can still be read."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def close(self) -> None:
        """The reader is done: what is there is dropped, and writers are told."""
        with self._changed:
            self._finished = True
            self._items.clear()
            self._changed.notify_all()
