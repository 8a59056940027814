"""A bounded queue between two threads that either side may leave: the other is woken and told, never left waiting.

Beside encoder/ and jobs/, since the stages of both are joined by it and neither may import the other for it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ChannelClosed(Exception):
    """Nothing more comes (to a reader), or nobody reads any more (to a writer)."""


class Channel(Generic[Item]):
    """First in, first out, at most `capacity` items at a time."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._finished = False

    def put(self, item: Item) -> None:
        """Waits while the channel is full. Raises ChannelClosed once it is finished or closed: nobody will take the item."""
        with self._changed:
            while len(self._items) >= self._capacity and not self._finished:
                self._changed.wait()
            if self._finished:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    def offer(self, item: Item) -> bool:
        """put(), and whether somebody may still take it: for a stage to which a reader that left is nothing out of the ordinary."""
        try:
            self.put(item)
        except ChannelClosed:
            return False
        return True

    def __iter__(self) -> Iterator[Item]:
        """The next items, each waited for, until none will come."""
        while True:
            try:
                item = self.get()
            except ChannelClosed:
                return
            yield item
            del item  # while the next one is waited for, nobody here holds the last

    def get(self, timeout_s: float | None = None) -> Item:
        """The next item. Raises TimeoutError when none came in time, ChannelClosed when none will."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._items:
                if self._finished:
                    raise ChannelClosed
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise TimeoutError
                self._changed.wait(left_s)
            item = self._items.popleft()
            self._changed.notify_all()
            return item

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
