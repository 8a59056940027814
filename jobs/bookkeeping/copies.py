"""A second copy of a file that nothing else could tell the content of. Both know by themselves whether they are whole (self_check.py).

The rule for all of them: whoever publishes such a file copies it next; what a killed process left without a copy gets it from the next holder of the lease;
`repair` puts back whichever of the two is damaged.
"""

from __future__ import annotations

import contextlib

from embermill.jobs.bookkeeping.self_check import problem_of
from embermill.jobs.storage import AlreadyExists, Folder, restore_bytes


def read_whole(folder: Folder, name: str) -> bytes | None:
    """None where it is gone or damaged."""
    try:
        data = folder.read(name)
    except FileNotFoundError:
        return None
    return None if problem_of(name, data) else data


def write_copy(folder: Folder, copy: str, data: bytes) -> None:
    with contextlib.suppress(AlreadyExists):  # ours, or that of a process that wrote the same at the same time
        folder.create(copy, data)


def complete_copy(folder: Folder, name: str, copy: str) -> None:
    """Where the file is whole; a damaged one is for `repair` to see."""
    if (data := read_whole(folder, name)) is not None:
        write_copy(folder, copy, data)


def restore_from(folder: Folder, name: str, twin: str) -> bool:
    """Put a damaged or missing file back from the other of the two; whether that was done. For the holder of the lease."""
    if read_whole(folder, name) is not None or (data := read_whole(folder, twin)) is None:
        return False
    restore_bytes(folder, name, data)
    return True
