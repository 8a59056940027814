"""Names of published files, and a corpus that would take them for its own. Light to import: a machine that submits a job to a cluster asks it."""

from __future__ import annotations

from embermill.jobs.config import JobConfig
from embermill.jobs.errors import UsageError
from embermill.jobs.partition import Partition
from embermill.jobs.storage import would_list

DATA = "data"


def shard_name(partition: Partition, ordinal: int, *, folder: str = DATA, suffix: str = ".parquet") -> str:
    return f"{folder}/part-{partition.number:09d}-{ordinal:03d}-{partition.id[:8]}{suffix}"


def require_apart(config: JobConfig, root: str) -> None:
    """UsageError where the corpus's entries would list the shards of a dataset at `root`; nothing is opened."""
    shard = f"{root}/{shard_name(Partition(0, '00000000', (), 0), 0)}"
    for entry in config.corpus.files:
        if would_list(entry, shard):
            raise UsageError(
                f"output.uri: {root} lies where corpus.files: {entry} looks, and the dataset would be taken for corpus: "
                "put it elsewhere, or name the corpus more narrowly"
            )
