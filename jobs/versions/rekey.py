"""Keys that were lost or damaged, rebuilt from the live rows. No row tells in which corpus file it is: the next sync reads every file for that."""

from __future__ import annotations

from embermill.jobs.dataset.metadata.claims import claim_number
from embermill.jobs.dataset.metadata.keys import KeyRange, buckets_of, publish_keys
from embermill.jobs.dataset.metadata.versions import FIRST, KEYS, Contents, Version, VersionFile, commit_version, read_version
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.dataset.views.live_keys import key_passes, keys_of_live_rows
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.publishing import describe_published
from embermill.jobs.storage import Folder


def repair_keys(folder: Folder, plan: Plan) -> Version | None:
    """A version with the same rows and new keys, where a file of the newest version's keys is not as it was published; None where all are, or there are none.

    For the holder of the lease.
    """
    newest = read_version(folder)
    keys = newest.of_kind(KEYS)
    buckets = buckets_of(newest)
    if newest.number == FIRST or buckets is None or all(_stands(folder, file) for file in keys):
        return None
    number, parent = claim_number(folder, "repair", {"keys": "from rows"})
    live, files = LiveRows(folder, plan, parent), [file for file in parent.files if file.kind != KEYS]
    for first, end in key_passes(parent.totals["rows"], buckets):
        by_bucket = keys_of_live_rows(live, first, end, buckets)
        next_file = max([parent.next_file - 1, *(file.number for file in files)]) + 1
        files.append(publish_keys(folder, KeyRange(number, first, end, buckets), by_bucket, plan.rows.key_type, next_file))
    totals = parent.totals | {"rows_upserted": 0, "rows_deleted": 0}
    return commit_version(folder, Contents(number, parent.number, "repair", totals, tuple(files), parent.details))


def _stands(folder: Folder, file: VersionFile) -> bool:
    try:
        return describe_published(folder, file.name).sha256 == file.sha256
    except FileNotFoundError:
        return False
