"""What helps the thread that writes shards, in a worker that may use many cores of the CPU: threads that encode row groups, a process that hashes texts."""

from __future__ import annotations

from typing import TypedDict

from embermill.jobs.shard.hash_process import HashProcess
from embermill.jobs.shard.text_hash import hash_texts
from embermill.jobs.shard.writer import HashAll

MOST_ENCODERS, CORES_FOR_AN_ENCODER = 4, 4


class Helpers(TypedDict):
    """Arguments of a ShardWriter."""

    encoders: int
    hash_all: HashAll


def helpers_for(threads: int) -> Helpers:
    """threads: of the CPU that the worker may use. One with few of them, as on a CPU, does all in the thread that writes."""
    encoders = min(MOST_ENCODERS, threads // CORES_FOR_AN_ENCODER)
    return {"encoders": encoders, "hash_all": HashProcess() if encoders else hash_texts}
