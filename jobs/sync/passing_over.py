"""A sync that found no row changed makes no version: whoever reads the dataset, or loads an index from it, has nothing to do.

It opened files because their times differ, or were too fresh to be trusted when they were listed (difference/inputs.py), or found some without rows. Its
number is abandoned, and that decision names the listing as it is now, so that the next sync does not open them again. Nothing hangs on it: where it is lost
they are opened once more. A number that is claimed is never given back, since files of its maker may still appear under it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from embermill.jobs.dataset.metadata.versions import Version, abandon_version
from embermill.jobs.difference.claim import Claim, can_be_listed
from embermill.jobs.difference.committing import Added
from embermill.jobs.difference.inputs import CorpusFile
from embermill.jobs.difference.making import sync_folder
from embermill.jobs.storage import Folder
from embermill.jobs.sync.counting import unseen_in

log = logging.getLogger(__name__)

MOST_PASSED_OVER = 50  # numbers one after another: who looks for the newest version reads each of their decisions
REASON = "no row changed"


def is_worth_a_version(folder: Folder, claim: Claim, parent: Version, added: Added, files: Sequence[CorpusFile], counts: Mapping[str, Any]) -> bool:
    """Whether there is something in it for anybody but the next sync. files: as the version has read them. counts: what it did."""
    if added.files or added.rows != parent.totals["rows"] or claim.number - parent.number > MOST_PASSED_OVER:
        return True
    if counts["rows_quarantined"] or counts["rows_unseen"] != unseen_in(parent) or _told(files) != _told(claim.files):
        return True
    return not can_be_listed(folder, parent)


def _told(files: Sequence[CorpusFile]) -> dict[int, tuple[int, bool]]:
    """What a version says of its files beside their times. A file that is gone with nothing said of it leaves nothing behind."""
    return {file.number: (file.quarantined, file.shadowed) for file in files if file.quarantined or file.shadowed}


def pass_over(folder: Folder, claim: Claim, listing: dict[str, Any]) -> None:
    """listing: details as a version has them. For the holder of the lease."""
    abandon_version(folder, claim.number, REASON, listing | {"parent": claim.parent})
    log.info("no row changed: version %d stays the newest", claim.parent)
    for name, _ in [*folder.list(sync_folder(claim.number))]:
        folder.remove(name)
