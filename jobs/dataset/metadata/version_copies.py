"""A second copy of what decides a version: nothing else in a dataset tells which files a version is made of, or which corpus it has seen.

    _embermill/versions/copies/000041.json            the decision
    _embermill/versions/copies/000041-HASH.pq         its files
    _embermill/versions/copies/inputs-HASH.pq         the listing that the next sync compares with

Each of these files knows by itself whether it is whole. Versions that were made before there were copies get theirs with the next version.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from embermill.jobs.bookkeeping.seal import read_json
from embermill.jobs.bookkeeping.self_check import problem_of
from embermill.jobs.dataset.metadata.retirement import VERSIONS
from embermill.jobs.storage import AlreadyExists, Folder, restore_bytes

COPIES = f"{VERSIONS}/copies"
INPUTS = "_embermill/sync/inputs-"


def copy_decision(folder: Folder, root_name: str) -> None:
    """Of a decided version, by the name of its root; what has a copy, or is damaged, is passed over. For the holder of the lease."""
    if folder.exists(_copy_of(root_name)) or (root := _whole(folder, root_name)) is None:
        return
    for name in (*_named(read_json(root, frozenset())), root_name):  # the root last: where it stands, all copies do
        if (data := _whole(folder, name)) is not None:
            with contextlib.suppress(AlreadyExists):
                folder.create(_copy_of(name), data)


def restore_decisions(folder: Folder) -> Iterator[str]:
    """Put each damaged or missing file back from its whole copy, and each damaged copy from its file; their names. For the holder of the lease.

    A listing that is gone stays so, unless a decision that stands names it: `erase` removes those that no version needs.
    """
    copies = [name for name, _ in folder.list(COPIES)]
    for copy in sorted(copies, key=lambda name: name.startswith(f"{COPIES}/inputs-")):
        name, held = _file_of(copy), _whole(folder, copy)
        if held is None:
            if (data := _whole(folder, name)) is not None:
                restore_bytes(folder, copy, data)
                yield copy
        elif _whole(folder, name) is None and (folder.exists(name) or not name.startswith(INPUTS)):
            restore_bytes(folder, name, held)
            yield name


def _named(root: dict[str, Any]) -> Iterator[str]:
    """Files that a decision names: none of an abandoned one."""
    for described in (root.get("files"), (root.get("details") or {}).get("inputs")):
        if isinstance(described, dict):
            yield str(described["file"])


def _whole(folder: Folder, name: str) -> bytes | None:
    try:
        data = folder.read(name)
    except FileNotFoundError:
        return None
    return None if problem_of(name, data) else data


def _copy_of(name: str) -> str:
    return f"{COPIES}/{name.rpartition('/')[2]}"


def _file_of(copy: str) -> str:
    file = copy.removeprefix(f"{COPIES}/")
    return f"{INPUTS}{file.removeprefix('inputs-')}" if file.startswith("inputs-") else f"{VERSIONS}/{file}"
