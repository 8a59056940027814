"""What helps against a damaged file of a dataset, in the same words whoever meets it. tests/jobs/test_damage.py does what they say, and it helps."""

from __future__ import annotations

REPAIR = "`embermill repair` makes it whole"
PLAN = (
    "Restore it from a copy, or, while the corpus is as it was, move what is there of _embermill/plan, _embermill/commits and _embermill/manifests away "
    "and run the same job again: it is planned anew, and the shards that stand here are checked and adopted. "
    "Where the plan has a whole copy, `embermill repair` puts it back"
)
COMMIT = "Move it away and run the same job again: what it should say is taken from the manifest, or from the shards themselves where there is none"
COMMITS_APART = "Move both away and run the same job again: what they should say is taken from the manifest, or from the shards themselves where there is none"
COMMITS_LOST = "Run the same job again: they are written anew from the manifest"
SHARD = (
    "Restore what is damaged from a copy, or, while the corpus is as it was, move it, _embermill/commits and _embermill/manifests away and run the same job "
    "again: whole shards are checked and adopted, the others are embedded anew. `embermill repair` does it for you, for the damaged ones alone"
)


def for_manifest(number: int) -> str:
    """number: of the damaged one."""
    names = " and ".join(f"_embermill/manifests/{number:06d}.{suffix}" for suffix in ("json", "parquet"))
    return f"Restore it from a copy, or move what is there of {names} away and run the same job again: the manifest is published anew from the commits"
VERSION = "Restore it from a copy: what a version holds is said nowhere else. Every other version can still be read (`--version`)"
