"""A bounded hand-over between two threads that either side may close."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """First in, first out, at most `capacity` items at a time. close(): what is in it may still be taken. abandon(): it is dropped."""

    def __init__(self, capacity: int) -> None:
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> bool:
        """Wait for room, then add; False where the channel is closed and nobody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            if not self._closed:
                self._items.append(item)
                self._changed.notify_all()
            return not self._closed

    def __iter__(self) -> Iterator[T]:
        """Items until the channel is closed and empty; waits for each."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._items)
                if not self._items:
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        with self._changed:
            self._items.clear()
            self._closed = True
            self._changed.notify_all()


class TaskQueue(Generic[T]):
    """What a worker still has to do: put from one side, taken from the other, closed when no more will come."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    def put_back(self, items: list[T]) -> None:
        """To the front, in their order."""
        with self._changed:
            self._items.extendleft(reversed(items))
            self._changed.notify_all()

    @property
    def empty(self) -> bool:
        return not self._items

    def take(self, timeout_s: float | None, left: Callable[[], bool] = lambda: False) -> T | None:
        """The next one; None where none came in time (timeout_s None: where none will), or once the taker has `left`: who makes that true calls wake()."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items or left(), timeout_s)
            return self._items.popleft() if self._items and not left() else None

    def wake(self) -> None:
        """Whoever waits in take looks again whether it has left."""
        with self._changed:
            self._changed.notify_all()

    def wait(self) -> bool:
        """Until there is something to take; False once the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items)
            return bool(self._items)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
