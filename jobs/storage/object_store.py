"""A dataset and a corpus in an object store, through obstore: conditional puts, ranged reads that are conditional on what was planned."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from embermill.jobs.errors import InputChanged, Interrupted, UsageError
from embermill.jobs.storage.base import AlreadyExists, FileInfo
from embermill.jobs.storage.failures import reason_of, store_failure

SCHEMES: dict[str, Callable[..., ObjectStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_CLIENT_ENVIRONMENT = {
    "s3": ("AWS_ALLOW_HTTP", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_ALLOW_HTTP", "GOOGLE_BASE_URL"),
    "az": ("AZURE_ALLOW_HTTP", "AZURE_STORAGE_ENDPOINT"),
}
ATTEMPT = "embermill-attempt"  # metadata of what we put: tells our own first try from another writer's when a retried put meets "already exists"
CONFLICT_TRIES = 6
MAX_RETRIES = 8  # of one request that the store answered with a time-out, a 5xx or "slow down", over minutes
SLOWEST_BYTES_PER_S = 256 * 1024
READ_AHEAD_BYTES = 8 << 20
FIRST_READ_BYTES = 64 << 10

T = TypeVar("T")


def split_url(url: str) -> tuple[str, str, str]:
    """URL -> scheme, bucket, key. Keys are taken literally: no percent decoding. UsageError for an unknown scheme."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in SCHEMES or not bucket:
        raise UsageError(f"{url}: expected a local path, or {', '.join(f'{known}://bucket/path' for known in SCHEMES)}")
    return scheme, bucket, key.strip("/")


def store_for(scheme: str, bucket: str, size: int = 0) -> ObjectStore:
    """The bucket, with a time-out that a transfer of `size` bytes can keep on a slow line (obstore's is 30 s whatever the size)."""
    timeout_s = 60 * 2 ** max(0, math.ceil(math.log2(max(1, size / SLOWEST_BYTES_PER_S / 60))))
    return _store(scheme, bucket, timeout_s, *(os.environ.get(name, "") for name in _CLIENT_ENVIRONMENT[scheme]))


@functools.cache
def _store(scheme: str, bucket: str, timeout_s: int, allow_http: str, _endpoint: str) -> ObjectStore:
    """obstore takes endpoint and credentials from the environment, but its own AWS_ALLOW_HTTP counts no more once client options are given."""
    client: Any = {"timeout": f"{timeout_s}s", "connect_timeout": "10s", "allow_http": allow_http.lower() in ("1", "true", "yes", "on")}
    retries: Any = {"max_retries": MAX_RETRIES, "retry_timeout": timedelta(seconds=max(180, timeout_s))}
    try:
        return SCHEMES[scheme](bucket, client_options=client, retry_config=retries)
    except exceptions.BaseError as error:
        raise UsageError(f"{scheme}://{bucket}: cannot be opened: {reason_of(error)}") from None


def _asked(url: str, call: Callable[[], T]) -> T:
    """Run one request; errors that retrying did not help become ours. FileNotFoundError and conditions pass through."""
    try:
        return call()
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise
    except exceptions.BaseError as error:
        raise store_failure(error, url) from None
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise store_failure(error, url) from None
        raise FileNotFoundError(f"{url}: not found") from None


def version_of(meta: Any) -> str:
    return str(meta["e_tag"] or meta["last_modified"].isoformat())


class ObjectFolder:
    """A dataset under a prefix of a bucket."""

    def __init__(self, uri: str) -> None:
        self.scheme, self.bucket, self.prefix = split_url(uri)
        self.root = f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")
        self._scratch: Path | None = None

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}".strip("/")

    def _url(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _store(self, size: int = 0) -> ObjectStore:
        return store_for(self.scheme, self.bucket, size)

    def list(self, prefix: str = "") -> Iterator[tuple[str, FileInfo]]:
        found = list_objects(self.scheme, self.bucket, self._key(prefix))
        start = len(self.prefix) + 1 if self.prefix else 0
        for key, info in sorted(found):
            yield key[start:], info

    def exists(self, name: str) -> bool:
        return self._head(name) is not None

    def _head(self, name: str) -> Any | None:
        try:
            return _asked(self._url(name), lambda: obstore.head(self._store(), self._key(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        return _asked(self._url(name), lambda: bytes(obstore.get(self._store(), self._key(name)).bytes()))

    def open(self, name: str) -> BinaryIO:
        meta = self._head(name)
        if meta is None:
            raise FileNotFoundError(self._url(name))
        return cast(BinaryIO, open_object_input(self._url(name), meta["size"], version_of(meta)))

    def temporary(self, name: str) -> Path:
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="embermill-"))
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        return self._scratch / f"{Path(name).name}.{os.getpid()}.{uuid.uuid4().hex}"

    def publish(self, temporary: Path, name: str) -> None:
        self._create(name, temporary, temporary.stat().st_size)
        temporary.unlink(missing_ok=True)

    def create(self, name: str, data: bytes) -> None:
        self._create(name, data, len(data))

    def _create(self, name: str, data: Path | bytes, size: int) -> None:
        """One conditional put. "Already exists" is also what a store answers to a conflict (409) while nothing stands there, and to our own put when its
        first answer was lost: so look, and put again while there is nothing."""
        attempt = uuid.uuid4().hex
        for tried in range(CONFLICT_TRIES):
            try:
                _asked(
                    self._url(name),
                    lambda: obstore.put(self._store(size), self._key(name), data, mode="create", use_multipart=False, attributes={ATTEMPT: attempt}),
                )
                return
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                standing = self._attempt(name)
            if standing == attempt:
                return
            if standing is not None:
                raise AlreadyExists(name)
            time.sleep(min(2.0, 0.05 * 4**tried))
        raise Interrupted(f"{self._url(name)}: the store answers `already exists` while nothing is there, {CONFLICT_TRIES} times: run again")

    def _attempt(self, name: str) -> str | None:
        """Which attempt stands under that name; "" for one without a mark; None where nothing does."""
        try:
            found = _asked(self._url(name), lambda: obstore.get(self._store(), self._key(name), options={"head": True}))
        except FileNotFoundError:
            return None
        return str(found.attributes.get(ATTEMPT, ""))

    def require_writable(self) -> None:
        """Nothing to do: only writing would tell, and the first file that is put does."""

    def replace(self, name: str, data: bytes) -> None:
        _asked(self._url(name), lambda: obstore.put(self._store(len(data)), self._key(name), data, use_multipart=False))

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            _asked(self._url(name), lambda: obstore.delete(self._store(), self._key(name)))


def list_objects(scheme: str, bucket: str, prefix: str) -> Iterator[tuple[str, FileInfo]]:
    """(key, info) of every object below a prefix, in the store's order; folder markers (names that end in "/") are none."""
    url = f"{scheme}://{bucket}"
    chunks = _asked(f"{url}/{prefix}", lambda: obstore.list(store_for(scheme, bucket), prefix or None, chunk_size=1000))
    while chunk := _asked(f"{url}/{prefix}", lambda: next(chunks, None)):
        for meta in chunk:
            yield meta["path"], FileInfo(f"{url}/{meta['path']}", meta["size"], version_of(meta))


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
            found = _asked(self.url, lambda: obstore.get(store_for(self.scheme, self.bucket, end - start), self.key, options=options))
            if version_of(found.meta) != self.version or found.meta["size"] != self.size:
                raise InputChanged(self._changed())
            data = _asked(self.url, lambda: memoryview(found.bytes()))
        except FileNotFoundError:
            raise InputChanged(f"{self.url}: vanished after planning: put it back, or embed the corpus as it is now into another output.uri") from None
        except exceptions.PreconditionError:
            raise InputChanged(self._changed()) from None
        if len(data) != end - start:
            raise Interrupted(f"{self.url}: asked for bytes {start} to {end}, got {len(data)} of them")
        return data

    def _changed(self) -> str:
        return f"{self.url}: changed after planning: expected {self.size} bytes of etag {self.version}: embed the new corpus into another output.uri"


def open_object_input(url: str, size: int, version: str) -> ObjectInput:
    return ObjectInput(url, size, version)


def object_info(url: str) -> FileInfo | None:
    """None where there is no such object."""
    scheme, bucket, key = split_url(url)
    if not key:
        return None
    try:
        meta = _asked(url, lambda: obstore.head(store_for(scheme, bucket), key))
    except FileNotFoundError:
        return None
    return FileInfo(url, meta["size"], version_of(meta))
