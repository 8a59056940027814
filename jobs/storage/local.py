"""A dataset and a corpus on a file system of this machine (or one mounted on every node)."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from embermill.jobs.errors import DataError, InputChanged, Interrupted, UsageError
from embermill.jobs.storage.base import AlreadyExists, FileInfo, require_inside
from embermill.jobs.storage.failures import CHANGED, FULL, VANISHED, disk_failure
from embermill.jobs.storage.local_path import local_path

TMP = "_embermill/tmp"
SMALLEST_SPACE = 4096  # bytes without which nothing can be begun: a block of most file systems
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1


def file_info(path: Path | str) -> FileInfo:
    """FileNotFoundError, PermissionError, ...: as Path.stat."""
    status = os.stat(path)  # noqa: PTH116 - a million names, of which no Path is to be made
    return FileInfo(str(path), status.st_size, str(status.st_mtime_ns), identity_of(status), status.st_mtime)


def identity_of(status: os.stat_result) -> str:
    return f"{status.st_ctime_ns}:{status.st_ino}"


class LocalFolder:
    """A dataset in a local folder. Files come into being complete: written and synced under `_embermill/tmp/`, then hard-linked to their name."""

    def __init__(self, uri: str) -> None:
        self.root = str(local_path(uri).absolute())

    def _path(self, name: str) -> Path:
        """DataError where the name, or a link on its way, leads out of the dataset. The dataset's own folder may be a link."""
        path = Path(self.root, name)
        if name:
            require_inside(self.root, name)
            real, inside = os.path.realpath(path), os.path.realpath(self.root)
            if not real.startswith(inside.rstrip("/") + "/"):
                raise DataError(f"{path}: is a link that leads out of the dataset, or lies behind one: remove it, or move what it leads to here")
        return path

    def list(self, prefix: str = "") -> Iterator[tuple[str, FileInfo]]:
        top = str(self._path(prefix.rstrip("/")))
        with self._told("listed"):
            paths = [f"{folder}/{file}" for folder, _, files in os.walk(top, onerror=_unless_there_is_none) for file in files]
        inside = len(self.root.rstrip("/")) + 1
        for path in sorted(paths):
            with contextlib.suppress(FileNotFoundError):  # a temporary that went away while we looked
                yield path[inside:], file_info(path)

    def exists(self, name: str) -> bool:
        return self._path(name).exists()

    def require_writable(self) -> None:
        there = next(folder for folder in (Path(self.root), *Path(self.root).parents) if os.path.lexists(folder))
        try:
            with tempfile.TemporaryFile(dir=there) as probe:  # it has no name where the system can do that: not even a kill leaves it behind
                probe.write(bytes(SMALLEST_SPACE))
                probe.flush()
        except OSError as error:
            if error.errno in FULL:
                raise disk_failure(error, f"{self.root}: cannot be written", str(there)) from None
            raise UsageError(
                f"{self.root}: cannot hold a dataset: expected a folder that files can be made in, but in {there} none can: {error.strerror}: "
                "let this user write there, or choose another place"
            ) from None

    def creates_only_if_absent(self) -> bool:
        """A link to a name that is taken fails, on every file system; where there are no links, `_link` says so."""
        return True

    def describe_endpoint(self) -> str:
        return "a file system of this machine"

    def read(self, name: str) -> bytes:
        with self._told("read"):
            return self._path(name).read_bytes()

    def open(self, name: str) -> BinaryIO:
        return self._path(name).open("rb")

    def temporary(self, name: str) -> Path:
        require_inside(self.root, name)
        folder = self._path(TMP)
        with self._told("written"):
            _make_folder(folder)
        return folder / f"{Path(name).name}.{socket.gethostname()}.{os.getpid()}.{uuid.uuid4().hex}"

    def publish(self, temporary: Path, name: str) -> None:
        target = self._path(name)
        with self._told("written"):
            _make_folder(target.parent)
            _sync(temporary)
            try:
                _link(temporary, target)
            except FileExistsError:
                raise AlreadyExists(name) from None
            finally:
                _sync(target.parent)  # also where somebody else's link won: the name may be committed next, so it must outlive a power cut
            temporary.unlink(missing_ok=True)

    def create(self, name: str, data: bytes) -> None:
        with self._attempt(name, data) as temporary:
            self.publish(temporary, name)

    def replace(self, name: str, data: bytes) -> None:
        with self._attempt(name, data) as temporary:
            self._path(name).parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(self._path(name))

    def restore(self, temporary: Path, name: str) -> None:
        target = self._path(name)
        with self._told("written"):
            _make_folder(target.parent)
            _sync(temporary)
            temporary.replace(target)
            _sync(target.parent)

    def remove(self, name: str) -> None:
        with self._told("written"):
            self._path(name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _attempt(self, name: str, data: bytes) -> Iterator[Path]:
        """A temporary file with these bytes, gone afterwards."""
        temporary = self.temporary(name)
        with self._told("written"):
            try:
                temporary.write_bytes(data)
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """The file system's errors as the job's; that something is not there is the caller's to judge."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise disk_failure(error, f"{self.root}: cannot be {what}", self.root) from error


def _unless_there_is_none(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _make_folder(folder: Path) -> None:
    """mkdir -p of which every new level outlives a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(source: Path, target: Path) -> None:
    """Give the finished file its name, or FileExistsError. Never overwrites."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        rename_without_replace(source, target)


def rename_without_replace(source: Path, target: Path) -> None:
    """renameat2(RENAME_NOREPLACE), for file systems without hard links (FAT, some FUSE). FileExistsError where the target is taken."""
    libc = ctypes.CDLL(None, use_errno=True)
    renameat2 = getattr(libc, "renameat2", None)
    if renameat2 is not None and renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
        return
    code = errno.ENOSYS if renameat2 is None else ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):
        raise UsageError(
            f"{target.parent}: this file system has neither hard links nor rename-without-replace, so two writers could not be kept apart: "
            "put output.uri on another one"
        )
    raise OSError(code, os.strerror(code), str(target))


class LocalInput(io.FileIO):
    """A corpus file of this machine. What was planned is compared with the open descriptor, so a file replaced by rename meanwhile does no harm."""

    def __init__(self, path: str, size: int, version: str) -> None:
        super().__init__(path, "rb")
        self.path, self.size, self.version = path, size, version
        status = os.fstat(self.fileno())
        self._identity, self._links = identity_of(status), status.st_nlink

    def check(self) -> None:
        status = os.fstat(self.fileno())
        if (status.st_size, str(status.st_mtime_ns)) != (self.size, self.version):
            found = f"expected {self.size} bytes of mtime {self.version} ns, found {status.st_size} bytes of mtime {status.st_mtime_ns} ns"
            raise InputChanged(f"{self.path}: changed after planning: {found}", CHANGED)
        lost_a_name = status.st_nlink < self._links  # which sets ctime, too: another file took the name, and what is read here stays as it was
        if identity_of(status) != self._identity and not lost_a_name:
            raise Interrupted(f"{self.path}: was touched while it was read, its size and time are the same")


def open_local_input(path: str, size: int, version: str) -> LocalInput:
    try:
        source = LocalInput(path, size, version)
    except FileNotFoundError:
        raise InputChanged(f"{path}: vanished after planning", VANISHED) from None
    try:
        source.check()
    except InputChanged:
        source.close()
        raise
    return source
