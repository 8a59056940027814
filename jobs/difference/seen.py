"""What the last run, plan or sync saw of a corpus that its dataset does not hold yet: from the listing alone, kept for `status`, of no authority."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from embermill.jobs.config import CorpusConfig
from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.difference.claim import latest_inputs
from embermill.jobs.difference.inputs import State, compare
from embermill.jobs.errors import JobError
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.listing import CorpusListing, list_corpus
from embermill.jobs.storage import Folder

log = logging.getLogger(__name__)

SEEN = "_embermill/seen.json"
DIFFERING = (State.NEW, State.CHANGED, State.RENAMED, State.GONE)


def look_at_corpus(folder: Folder, plan: Plan, config: CorpusConfig) -> dict[str, Any]:
    """{"time", "version", "files", "new", "changed", "renamed", "gone"}: files of the corpus as it is now, against the newest version. A file that cannot be
    listed is gone; where nothing can be listed, all are."""
    version = read_version(folder)
    try:
        listed = list_corpus(config)
    except JobError as error:
        log.warning("the corpus cannot be listed: %s", error)
        listed = CorpusListing()
    before = replace(latest_inputs(folder, plan, version), listed_s=math.inf)  # a time that is only doubtful is not news
    found = compare(before, listed)
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return {"time": time, "version": version.number, "files": len(listed)} | {state.value: found.counts[state.value] for state in DIFFERING}


def differs(seen: dict[str, Any]) -> bool:
    return any(seen[state.value] for state in DIFFERING)


def remember(folder: Folder, seen: dict[str, Any]) -> None:
    """For `status`. Nothing is written where nothing differs and nothing was remembered; who may not write here does without."""
    try:
        if differs(seen) or folder.exists(SEEN):
            folder.replace(SEEN, json.dumps(seen).encode())
    except (JobError, OSError) as error:
        log.debug("what was seen of the corpus was not kept: %s", error)


def read_seen(folder: Folder) -> dict[str, Any] | None:
    """None where nothing was remembered that can be read."""
    try:
        found = json.loads(folder.read(SEEN))
        return found if isinstance(found, dict) and differs(found) is not None else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
