"""A dataset in an object store, through obstore: conditional puts; and what a listing of one shows."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
import uuid
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import obstore
from obstore import exceptions
from obstore.store import ObjectStore

from embermill.jobs.errors import Interrupted, UsageError
from embermill.jobs.storage.base import AlreadyExists, FileInfo, require_inside
from embermill.jobs.storage.failures import CutShort
from embermill.jobs.storage.object_client import CUT_TRIES, asked, endpoint_of, split_url, store_for, version_of
from embermill.jobs.storage.object_input import open_object_input

ATTEMPT = "embermillattempt"  # metadata of what we put: tells our own first try from another writer's when a retried put meets "already exists"
CONFLICT_TRIES = 6
PROBE = "_embermill/tmp/probe"
HADOOP_MARKER = "_$folder$"
MARKER_TYPES = ("application/x-directory", "httpd/unix-directory")
LOOKING_AT_ONCE = 16
LISTED_AT_ONCE = 1000


class ObjectFolder:
    """A dataset under a prefix of a bucket. looks_first: of a store that ignores conditions; a name that is seen to be taken is not put then."""

    def __init__(self, uri: str, *, looks_first: bool = False) -> None:
        self._looks_first = looks_first
        self.scheme, self.bucket, self.prefix = split_url(uri)
        self.root = f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")
        self._scratch: Path | None = None

    def _key(self, name: str) -> str:
        if name:
            require_inside(self.root, name)
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
            return asked(self._url(name), lambda: obstore.head(self._store(), self._key(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        return asked(self._url(name), lambda: bytes(obstore.get(self._store(), self._key(name)).bytes()))

    def open(self, name: str) -> BinaryIO:
        meta = self._head(name)
        if meta is None:
            raise FileNotFoundError(self._url(name))
        return cast(BinaryIO, open_object_input(self._url(name), meta["size"], version_of(meta)))

    def temporary(self, name: str) -> Path:
        if self._scratch is None:
            scratch = Path(tempfile.gettempdir(), f"embermill-{uuid.uuid4().hex}")
            weakref.finalize(self, shutil.rmtree, scratch, ignore_errors=True)  # first: Ctrl-C may come between
            scratch.mkdir(0o700)
            self._scratch = scratch
        return self._scratch / f"{Path(name).name}.{os.getpid()}.{uuid.uuid4().hex}"

    def publish(self, temporary: Path, name: str) -> None:
        self._create(name, temporary, temporary.stat().st_size)
        temporary.unlink(missing_ok=True)

    def create(self, name: str, data: bytes) -> None:
        self._create(name, data, len(data))

    def _create(self, name: str, data: Path | bytes, size: int) -> None:
        """One conditional put. "Already exists" is also what a store answers to a conflict (409) while nothing is there, and to our own put when its
        first answer was lost: so look, and put again while there is nothing."""
        attempt = uuid.uuid4().hex
        if self._looks_first and self.exists(name):
            raise AlreadyExists(name)
        for tried in range(CONFLICT_TRIES):
            try:
                asked(
                    self._url(name),
                    lambda: obstore.put(self._store(size), self._key(name), data, mode="create", use_multipart=False, attributes={ATTEMPT: attempt}),
                    tries=1,
                )
                return
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                standing = self._attempt(name)
            except CutShort:  # whether it arrived is to be seen
                if tried == CONFLICT_TRIES - 1:
                    raise
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
            found = asked(self._url(name), lambda: obstore.get(self._store(), self._key(name), options={"head": True}))
        except FileNotFoundError:
            return None
        return str(found.attributes.get(ATTEMPT, ""))

    def require_writable(self) -> None:
        """Nothing to do: only writing would tell, and the first file that is put does."""

    def creates_only_if_absent(self) -> bool:
        """Put one object twice: a store that keeps its word refuses the second."""
        name = f"{PROBE}-{uuid.uuid4().hex}"
        try:
            for data in (b"first", b"second"):
                self.create(name, data)
        except AlreadyExists:
            return True
        finally:
            with contextlib.suppress(UsageError, Interrupted):  # who may not delete here leaves a few bytes behind
                self.remove(name)
        return self._looks_first

    def describe_endpoint(self) -> str:
        return endpoint_of(self.scheme)

    def replace(self, name: str, data: bytes) -> None:
        asked(self._url(name), lambda: obstore.put(self._store(len(data)), self._key(name), data, use_multipart=False))

    def restore(self, temporary: Path, name: str) -> None:
        size = temporary.stat().st_size
        asked(self._url(name), lambda: obstore.put(self._store(size), self._key(name), temporary, use_multipart=False))
        temporary.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            asked(self._url(name), lambda: obstore.delete(self._store(), self._key(name)))


def list_objects(scheme: str, bucket: str, prefix: str) -> Iterator[tuple[str, FileInfo]]:
    """(key, info) of every object below a prefix, in the store's order, without the markers that programs leave for folders."""
    url = f"{scheme}://{bucket}"
    store = store_for(scheme, bucket)
    with ThreadPoolExecutor(LOOKING_AT_ONCE, thread_name_prefix="markers") as threads:
        for chunk in _pages(store, url, prefix):
            found = {meta["path"]: meta for meta in chunk if not _is_hadoop_marker(meta["path"])}
            empty = [key for key, meta in found.items() if meta["size"] == 0]
            markers = {key for key, is_marker in zip(empty, threads.map(partial(_is_marker, store, url), empty), strict=True) if is_marker}
            for key, meta in found.items():
                if key not in markers:
                    yield key, FileInfo(f"{url}/{key}", meta["size"], version_of(meta), modified_s=meta["last_modified"].timestamp())


def _pages(store: ObjectStore, url: str, prefix: str) -> Iterator[list[Any]]:
    """The listing page by page; where a page's answer is cut off, it is listed again from the last key on."""
    last: str | None = None
    cut = 0
    while True:
        chunks = obstore.list(store, prefix or None, offset=last, chunk_size=LISTED_AT_ONCE)
        try:
            while chunk := asked(f"{url}/{prefix}", partial(next, chunks, None), tries=1):
                yield [*chunk]
                last, cut = chunk[-1]["path"], 0
            return
        except CutShort:
            cut += 1
            if cut == CUT_TRIES:
                raise
            time.sleep(min(2.0, 0.05 * 3**cut))


def _is_hadoop_marker(key: str) -> bool:
    return any(part.endswith(HADOOP_MARKER) for part in key.split("/"))


def _is_marker(store: ObjectStore, url: str, key: str) -> bool:
    """Whether what is listed as an empty object is a folder's marker. obstore lists the key "a/" as "a", where nothing stands then; others say so."""
    try:
        found = asked(f"{url}/{key}", lambda: obstore.get(store, key, options={"head": True}))
    except FileNotFoundError:
        return True
    return found.meta["size"] > 0 or _says_folder(found)


def _says_folder(found: Any) -> bool:
    """Azure's folders, and those of clients that mark them by a type of their own."""
    told = {str(name).lower(): str(value).lower() for name, value in found.attributes.items()}
    return told.get("hdi_isfolder") == "true" or told.get("content-type", "").startswith(MARKER_TYPES)


def object_info(url: str) -> FileInfo | None:
    """None where there is no such object."""
    scheme, bucket, key = split_url(url)
    if not key:
        return None
    try:
        found = asked(url, lambda: obstore.get(store_for(scheme, bucket), key, options={"head": True}))
    except FileNotFoundError:
        return None
    if _is_hadoop_marker(key) or (not found.meta["size"] and _says_folder(found)):
        return None
    return FileInfo(url, found.meta["size"], version_of(found.meta))
