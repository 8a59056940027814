"""A second copy of what decides a version: nothing else in a dataset tells which files a version is made of, or which corpus it has seen.

    _embermill/versions/copies/000041.json            the decision
    _embermill/versions/copies/000041-HASH.pq         its files
    _embermill/versions/copies/inputs-HASH.pq         the listing that the next sync compares with

They are copied once the number is decided, by whoever decided it, else by the next holder of the lease (completing.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from embermill.jobs.bookkeeping.copies import complete_copy, read_whole, restore_from
from embermill.jobs.bookkeeping.seal import read_json
from embermill.jobs.dataset.metadata.retirement import VERSIONS
from embermill.jobs.storage import Folder

COPIES = f"{VERSIONS}/copies"
INPUTS = "_embermill/sync/inputs-"
_DECISION = re.compile(rf"{VERSIONS}/\d{{6,}}\.json")


def copy_decision(folder: Folder, root_name: str) -> None:
    """Of a decided version, by the name of its root. For the holder of the lease."""
    if (root := read_whole(folder, root_name)) is not None:
        for name in (*_named(read_json(root, frozenset())), root_name):  # the root last: where it stands, all copies do
            complete_copy(folder, name, copy_of(name))


def complete_copies(folder: Folder) -> None:
    """Make those that a maker did not come to before it was killed. For the holder of the lease."""
    for name in _uncopied(folder):
        copy_decision(folder, name)


def lacks_copies(folder: Folder) -> bool:
    return bool(_uncopied(folder))


def _uncopied(folder: Folder) -> list[str]:
    standing = {name for name, _ in folder.list(VERSIONS)}
    return sorted(name for name in standing if _DECISION.fullmatch(name) and copy_of(name) not in standing)


def restore_decisions(folder: Folder) -> Iterator[str]:
    """Put each damaged or missing file back from its whole copy, and each damaged copy from its file; their names. For the holder of the lease.

    A listing that is gone stays so, unless a decision that stands names it: `erase` removes those that no version needs.
    """
    copies = [name for name, _ in folder.list(COPIES)]
    for copy in sorted(copies, key=lambda name: name.startswith(f"{COPIES}/inputs-")):
        name = _file_of(copy)
        if restore_from(folder, copy, name):
            yield copy
        if (folder.exists(name) or not name.startswith(INPUTS)) and restore_from(folder, name, copy):
            yield name


def _named(root: dict[str, Any]) -> Iterator[str]:
    """Files that a decision names: none of an abandoned one."""
    for described in (root.get("files"), (root.get("details") or {}).get("inputs")):
        if isinstance(described, dict):
            yield str(described["file"])


def copy_of(name: str) -> str:
    return f"{COPIES}/{name.rpartition('/')[2]}"


def _file_of(copy: str) -> str:
    file = copy.removeprefix(f"{COPIES}/")
    return f"{INPUTS}{file.removeprefix('inputs-')}" if file.startswith("inputs-") else f"{VERSIONS}/{file}"
