"""A corpus file in an object store: ranged reads that are conditional on what was planned."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import obstore
from obstore import exceptions

from embermill.jobs.errors import InputChanged, Interrupted
from embermill.jobs.storage.failures import CHANGED, VANISHED
from embermill.jobs.storage.object_client import asked, split_url, store_for, version_of

READ_AHEAD_BYTES = 8 << 20
FIRST_READ_BYTES = 64 << 10


class ObjectInput(io.RawIOBase):
    """One version of one object, read by ranges: each request is conditional on the version, so what was read is never a mixture.

    Reads that follow one another grow up to 8 MiB and the next one is already on its way; a read elsewhere starts small again.
    """

    def __init__(self, url: str, size: int, version: str) -> None:
        self.url, self.size, self.version = url, size, version
        self.scheme, self.bucket, self.key = split_url(url)
        self._position = 0
        self._held, self._held_at = memoryview(b""), 0
        self._window = FIRST_READ_BYTES
        self._ahead: tuple[int, Future[memoryview]] | None = None
        self._fetcher = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = max(0, offset + (0, self._position, self.size)[whence])
        return self._position

    def check(self) -> None:
        """Nothing to do: every request was conditional."""

    def close(self) -> None:
        if not self.closed:
            self._fetcher.shutdown(wait=False, cancel_futures=True)
        super().close()

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self.size - self._position if size is None or size < 0 else min(size, self.size - self._position)
        parts: list[memoryview] = []
        while wanted > 0:
            part = self._part(wanted)
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _part(self, wanted: int) -> memoryview:
        """At least one byte from the current position on."""
        offset = self._position - self._held_at
        if not 0 <= offset < len(self._held):
            self._fill(wanted)
            offset = 0
        return self._held[offset : offset + wanted]

    def _fill(self, wanted: int) -> None:
        sequential = self._position == self._held_at + len(self._held) and self._position > 0
        self._window = min(READ_AHEAD_BYTES, self._window * 2) if sequential else FIRST_READ_BYTES
        if self._ahead is not None and self._ahead[0] == self._position:
            data = self._ahead[1].result()
        else:
            data = self._fetch(self._position, max(wanted, self._window))
        self._ahead = None
        self._held, self._held_at = data, self._position
        after = self._position + len(data)
        if sequential and after < self.size:
            self._ahead = after, self._fetcher.submit(self._fetch, after, self._window)

    def _fetch(self, start: int, length: int) -> memoryview:
        end = min(self.size, start + length)
        options: Any = {"range": (start, end)} | ({"if_match": self.version} if self.version.startswith(('"', "W/")) else {})
        try:
            data = asked(self.url, lambda: self._fetch_once(options, end - start))
        except FileNotFoundError:
            raise self._vanished() from None
        except exceptions.PreconditionError:  # which is also what Azure may answer where there is none
            raise (self._changed() if self._is_there() else self._vanished()) from None
        if len(data) != end - start:
            raise Interrupted(f"{self.url}: asked for bytes {start} to {end}, got {len(data)} of them")
        return data

    def _fetch_once(self, options: Any, length: int) -> memoryview:
        """Answer and body together: a body that is cut off is requested again."""
        found = obstore.get(store_for(self.scheme, self.bucket, length), self.key, options=options)
        if version_of(found.meta) != self.version or found.meta["size"] != self.size:
            raise self._changed()
        return memoryview(found.bytes())

    def _is_there(self) -> bool:
        try:
            asked(self.url, lambda: obstore.head(store_for(self.scheme, self.bucket), self.key))
        except FileNotFoundError:
            return False
        return True

    def _vanished(self) -> InputChanged:
        return InputChanged(f"{self.url}: vanished after planning", VANISHED)

    def _changed(self) -> InputChanged:
        return InputChanged(f"{self.url}: changed after planning: expected {self.size} bytes of etag {self.version}", CHANGED)


def open_object_input(url: str, size: int, version: str) -> ObjectInput:
    return ObjectInput(url, size, version)
