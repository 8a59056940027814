"""Rows of an id that occurs earlier in the corpus: in the quarantine, one file a version."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from embermill.jobs.corpus.rows import Refusal
from embermill.jobs.difference.claim import Claim
from embermill.jobs.difference.difference import Action
from embermill.jobs.difference.differing import read_differences
from embermill.jobs.shard.quarantine import QuarantineWriter
from embermill.jobs.storage import AlreadyExists, Folder

ERROR = "a row with this id occurs earlier in the corpus, and counts"


def duplicates_name(version: int) -> str:
    return f"quarantine/{version:06d}/duplicates.pq"


def quarantine_duplicates(folder: Folder, claim: Claim, differences: Sequence[str]) -> None:
    """Nothing where there are none. Bucket by bucket, so that memory does not follow their number."""
    paths = {number: path for path, number in claim.numbers.items()}
    name = duplicates_name(claim.number)
    with QuarantineWriter(folder.temporary(name)) as writer:
        for table in read_differences(folder, differences, ["id", "file", "part", "row"], [Action.DUPLICATE]):
            rows = table.sort_by([("part", "ascending"), ("row", "ascending")]).to_pylist()
            writer.add([Refusal(row["row"], 1, str(row["id"]), paths[row["file"]], None, None, "duplicate_id", ERROR, None) for row in rows])
        if writer.entries:
            writer.close({})
            with contextlib.suppress(AlreadyExists):
                folder.publish(writer.path, name)
