"""What follows the decision about a version and is of no authority: copies of the decision, the dataset card, and last a mark that all of it is done.

    changes/000041/_SUCCESS     of a version that adds upserts or deletes, empty: for programs that wait for a file, as Airflow's sensors do
    bases/000042/_SUCCESS       of one that adds a base

No reader of ours looks at the mark to see whether a version exists: `_embermill/versions` decides that. Where it is missing, whoever made the version was
killed in between, and the next holder of the lease completes it.
"""

from __future__ import annotations

import contextlib
import logging
import re

from embermill.jobs.dataset.metadata.card import write_card
from embermill.jobs.dataset.metadata.lease import hold_lease
from embermill.jobs.dataset.metadata.version_copies import complete_copies, lacks_copies
from embermill.jobs.dataset.metadata.versions import BASE, FIRST, Version, read_version
from embermill.jobs.errors import JobError
from embermill.jobs.storage import AlreadyExists, Folder

log = logging.getLogger(__name__)

_MARK = re.compile(r"(?:changes|bases)/(\d{6,})/_SUCCESS")


def mark_of(version: Version) -> str:
    """Name of the mark. That of a version whose files are all of earlier ones stands in changes/, too."""
    has_base = any(file.version == version.number for file in version.of_kind(BASE))
    return f"{'bases' if has_base else 'changes'}/{version.number:06d}/_SUCCESS"


def marked_number(name: str) -> int | None:
    """Of which version a file is the mark; None of any other file."""
    found = _MARK.fullmatch(name)
    return None if found is None else int(found[1])


def is_complete(folder: Folder, newest: Version) -> bool:
    """Also of numbers after it that were abandoned, which have copies alone."""
    return is_marked(folder, newest) and not lacks_copies(folder)


def is_marked(folder: Folder, newest: Version) -> bool:
    return newest.number == FIRST or folder.exists(mark_of(newest))


def complete_version(folder: Folder, newest: Version | None = None) -> None:
    """Of the newest version, and what is missing of those before it. For the holder of the lease."""
    newest = newest or read_version(folder)
    if lacks_copies(folder):
        complete_copies(folder)
    if not is_marked(folder, newest):
        write_card(folder)
        with contextlib.suppress(AlreadyExists):
            folder.create(mark_of(newest), b"")


def complete_if_possible(folder: Folder, newest: Version, *, lease_s: float) -> None:
    """For a command that has nothing else to write. Where another run is at work, or nothing may be written, it stays as it is."""
    if is_complete(folder, newest):
        return
    try:
        with hold_lease(folder, lease_s=lease_s, purpose="complete"):
            complete_version(folder)
    except (JobError, OSError) as error:
        log.debug("version %d was not completed: %s", newest.number, error)
