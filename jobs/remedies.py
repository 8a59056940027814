"""What helps against a damaged file of a dataset, in the same words whoever meets it. tests/jobs/test_damage.py does what they say, and it helps."""

from __future__ import annotations

REPAIR = "`embermill repair` restores it"
FORMAT = "`embermill repair` writes it again"
PLAN = (
    "`embermill repair` restores it where the plan has an intact copy. Otherwise restore it from a backup, or, if the corpus has not changed, "
    "move what is there of _embermill/plan, _embermill/commits and _embermill/manifests away and run the same job again: "
    "the corpus is planned again, and the shards that are there are checked and adopted"
)
COMMIT = "Move it away and run the same job again: what it should say is taken from the manifest, or from the shards themselves where there is none"
COMMITS_APART = "Move both away and run the same job again: what they should say is taken from the manifest, or from the shards themselves where there is none"
COMMITS_LOST = "Run the same job again: they are rewritten from the manifest"
SHARD = (
    "Run `embermill repair`, which makes the damaged files again from the corpus and leaves all others as they are. "
    "Or restore them from a backup. Or, if the corpus has not changed, move them, _embermill/commits and _embermill/manifests away and run the same job again: "
    "intact shards are checked and adopted, the others are embedded again"
)
VERSION = (
    "`embermill repair` restores it where there is an intact copy. Otherwise restore it from a backup: what a version holds is recorded nowhere else. "
    "Every other version can still be read (`--version`)"
)
OF_A_MAKER = (
    "`embermill repair` moves it to _embermill/set_aside: no reader of a version needs it, "
    "and one that was being made is started again by `embermill sync`"
)
OLDER_KEYS = "`embermill repair` moves it to _embermill/set_aside: only the keys of the newest version are needed"
LATER_QUARANTINE = (
    "`embermill repair` moves it to _embermill/set_aside: no row depends on it. "
    "`embermill sync --retry-quarantined` reads the files again of which rows were refused"
)


def for_strangers(root: str) -> str:
    """Against files in data/ and quarantine/ that belong to no partition of the plan."""
    return (
        f"If this plan was made again for the same corpus, run `embermill repair {root}`, which moves them to _embermill/set_aside, "
        "then run the same job again, which embeds what they hold again. Otherwise choose another output.uri"
    )


def for_manifest(number: int) -> str:
    """number: of the damaged one."""
    name = f"_embermill/manifests/{number:06d}"
    names = f"{name}.json and {name}.pq away (of older datasets {name}.parquet)"
    return f"Restore it from a backup, or move what is there of {names} and run the same job again: the manifest is published again from the commits"
