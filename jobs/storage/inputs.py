"""Corpus entries (a file, a folder, a glob, an address of one) -> the files they stand for. Names that begin with `_` or `.` are skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from embermill.jobs.errors import MatchesNothing, UsageError
from embermill.jobs.storage.base import FileInfo
from embermill.jobs.storage.local import file_info
from embermill.jobs.storage.local_path import local_path
from embermill.jobs.storage.object_client import split_url
from embermill.jobs.storage.object_store import list_objects, object_info

Listed = tuple[str, FileInfo]
DATASET_MARK = "_embermill/format.json"
TABLES = {"_delta_log": "a Delta table", ".hoodie": "a Hudi table", "metadata": "an Iceberg table"}


def is_url(address: str) -> bool:
    return "://" in address


def list_inputs(entry: str) -> list[Listed]:
    """[(name relative to the entry, file)], sorted by name. UsageError where nothing matches, for table folders (a plain reading of Delta,
    Iceberg or Hudi files returns deleted rows), and where a folder or glob would take in a dataset of ours, which is rarely meant."""
    try:
        listed = sorted(_list_url(entry) if is_url(entry) else _list_local(local_path(entry).absolute()))
    except OSError as error:  # a name that is too long, links in a circle
        raise UsageError(f"corpus.files: {entry[:200]}: cannot be listed: {error.strerror or error}") from None
    if not listed:
        raise MatchesNothing(f"corpus.files: {entry} matches no file (names that begin with `_` or `.` are skipped)")
    return listed


def is_folder(entry: str) -> bool:
    """Whether an entry that lists something is a folder: neither a pattern, nor a file by its own name. Of a URL a look at the store tells."""
    if is_url(entry):
        return not _split_key(split_url(entry)[2])[1] and object_info(entry.rstrip("/")) is None
    root, pattern = _split_local(local_path(entry).absolute())
    return not pattern and root.is_dir()


def holds_something(entry: str) -> bool:
    """Whether the entry would list a file of at least a byte, by a look that ends at the first one; of a URL it is taken for granted. UsageError as above."""
    return is_url(entry) or any(info.size for _, info in _list_local(local_path(entry).absolute()))


def would_list(entry: str, path: str) -> bool:
    """Whether the entry would take in a file at this absolute path or URL, if one stood there; by what the paths say, and by where their links lead."""
    if is_url(entry) != is_url(path):
        return False
    if is_url(entry):
        (scheme, bucket, key), (*where, name) = split_url(entry), split_url(path)
        root, pattern = _split_key(key)
        return where == [scheme, bucket] and _takes_in(root.split("/") if root else [], pattern, name.split("/"))
    base, pattern = _split_local(local_path(entry).absolute())
    return any(_takes_in([*Path(seen(base)).parts], pattern, [*Path(seen(path)).parts]) for seen in (os.path.normpath, os.path.realpath))


def _takes_in(folder: list[str], pattern: list[str], parts: list[str]) -> bool:
    relative = parts[len(folder) :]
    return parts[: len(folder)] == folder and bool(relative) and not any(map(_hidden, relative)) and (not pattern or matches(relative, pattern))


def matches(parts: list[str], pattern: list[str]) -> bool:
    """Glob over path components: `*`, `?` and `[...]` stay within one, `**` stands for any number of them. Case counts."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return matches(parts, pattern[1:]) or (bool(parts) and matches(parts[1:], pattern))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:])


def _hidden(name: str) -> bool:
    return name.startswith(("_", "."))


def _is_pattern(component: str) -> bool:
    return any(mark in component for mark in "*?[")


def _refuse_table(folder: str, kind: str) -> None:
    raise UsageError(
        f"corpus.files: {folder} is {TABLES[kind]} (it holds {kind}): reading its files plainly would return deleted rows: "
        "export the current rows to Parquet first"
    )


def _refuse_dataset(folder: str, file: str) -> None:
    raise UsageError(
        f"corpus.files: {folder} is a dataset that this program made, and {file} in it would be taken for corpus: "
        "name the corpus more narrowly, or put output.uri elsewhere; to embed that dataset itself, name its data/*.parquet"
    )


# ---- local -----------------------------------------------------------------------------------------------------------------------------------


def _list_local(entry: Path) -> Iterator[Listed]:
    root, pattern = _split_local(entry)
    for folder in [root, *root.parents]:
        _check_local(folder)
    if root.is_dir():
        yield from _walk(root, root, pattern, frozenset())
    elif not pattern and (root.exists() or root.is_symlink()):
        if not root.is_file():
            raise UsageError(f"corpus.files: {root}: expected a file or a folder, got {'something else' if root.exists() else 'a link to nothing'}")
        yield root.name, file_info(root)


def _split_local(entry: Path) -> tuple[Path, list[str]]:
    """The longest part that is there literally (its names may hold `[` or `*`), and the pattern after it."""
    first, *rest = entry.parts
    root = Path(first)
    while rest and (not _is_pattern(rest[0]) or (root / rest[0]).exists()):
        root /= rest.pop(0)
    return root, rest


def _check_local(folder: Path) -> None:
    for kind in TABLES:
        inside = folder / kind
        if inside.is_dir() and (kind != "metadata" or any(path.name.endswith(".metadata.json") for path in inside.iterdir())):
            _refuse_table(str(folder), kind)


def _walk(root: Path, folder: Path, pattern: list[str], above: frozenset[tuple[int, int]]) -> Iterator[Listed]:
    """Files below `folder` whose path under `root` matches (any, without a pattern). Links are followed, except back to a folder we are in."""
    try:
        status, entries = folder.stat(), sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"corpus.files: {folder}: cannot be listed: {error.strerror}") from None
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return
    if folder != root:
        _check_local(folder)
    is_dataset = (folder / DATASET_MARK).exists()
    for name, info in _walk_entries(root, folder, entries, pattern, above | {identity}):
        if is_dataset:
            _refuse_dataset(str(folder), info.path)
        yield name, info


def _walk_entries(root: Path, folder: Path, entries: list[os.DirEntry[str]], pattern: list[str], above: frozenset[tuple[int, int]]) -> Iterator[Listed]:
    for entry in entries:
        path = folder / entry.name
        parts = path.parts[len(root.parts) :]
        if _hidden(entry.name):
            continue
        if entry.is_dir():
            if not pattern or "**" in pattern or len(parts) < len(pattern):
                yield from _walk(root, path, pattern, above)
        elif (not pattern or matches(list(parts), pattern)) and (entry.is_file() or entry.is_symlink()):
            yield "/".join(parts), _info_or_bad(path)


def _info_or_bad(path: Path) -> FileInfo:
    """A link to nothing is listed without a version: a bad file, to be judged when planning."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UsageError(f"corpus.files: {os.fsencode(path)!r}: this name is no UTF-8 and could not be written into ids and plans: rename the file") from None
    try:
        return file_info(path)
    except OSError:
        return FileInfo(str(path), 0, "")


# ---- object stores ---------------------------------------------------------------------------------------------------------------------------


def _list_url(entry: str) -> Iterator[Listed]:
    scheme, bucket, key = split_url(entry)
    if (info := object_info(entry.rstrip("/"))) is not None:
        _check_keys(scheme, bucket, key.rpartition("/")[0])
        yield key.rpartition("/")[2], info
        return
    root, pattern = _split_key(key)
    _check_keys(scheme, bucket, root)
    datasets: list[str] = []
    for found, info in sorted(list_objects(scheme, bucket, root)):  # so that a dataset's mark comes before its data
        if found == DATASET_MARK or found.endswith(f"/{DATASET_MARK}"):
            datasets.append(found.removesuffix(DATASET_MARK))
        relative = found[len(root) + 1 if root else 0 :].split("/")
        for depth, name in enumerate(relative[:-1]):
            if name in ("_delta_log", ".hoodie") or (name == "metadata" and found.endswith(".metadata.json")):
                _refuse_table(f"{scheme}://{bucket}/" + "/".join(filter(None, [root, *relative[:depth]])), name)
        if not any(map(_hidden, relative)) and (not pattern or matches(relative, pattern)):
            if ours := next(filter(found.startswith, datasets), None):
                _refuse_dataset(f"{scheme}://{bucket}/{ours}", info.path)
            yield "/".join(relative), info


def _split_key(key: str) -> tuple[str, list[str]]:
    """The folder of keys before the first pattern, and the pattern."""
    parts = key.split("/") if key else []
    taken = next((number for number, part in enumerate(parts) if _is_pattern(part)), len(parts))
    return "/".join(parts[:taken]), parts[taken:]


def _check_keys(scheme: str, bucket: str, folder: str) -> None:
    """Is this folder of keys, or one above it, a table?"""
    parts = folder.split("/") if folder else []
    for above in ["/".join(parts[:end]) for end in range(len(parts) + 1)]:
        for kind in TABLES:
            inside = list_objects(scheme, bucket, f"{above}/{kind}".strip("/"))
            if any(kind != "metadata" or key.endswith(".metadata.json") for key, _ in inside):
                _refuse_table(f"{scheme}://{bucket}/{above}", kind)
