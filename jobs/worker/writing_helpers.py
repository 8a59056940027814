"""What helps the thread that writes shards, in a worker that may use many cores of the CPU: threads that encode row groups, a process that hashes texts."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypedDict

from embermill.jobs.process.device_tuning import FEW_CORES
from embermill.jobs.shard.hash_process import HashProcess
from embermill.jobs.shard.text_hash import hash_texts
from embermill.jobs.shard.writer import HashAll

MOST_ENCODERS, CORES_FOR_AN_ENCODER = 8, 2


class Helpers(TypedDict):
    """Arguments of a ShardWriter. encoders: for all shards of the worker, since a small one has less than a thread each to do."""

    encoders: Executor | None
    hash_all: HashAll


def helpers_for(threads: int) -> Helpers:
    """threads: of the CPU that the worker may use. One with fewer than FEW_CORES of them, as on a CPU, does all in the thread that writes."""
    if threads < FEW_CORES:
        return {"encoders": None, "hash_all": hash_texts}
    encoders = ThreadPoolExecutor(min(MOST_ENCODERS, threads // CORES_FOR_AN_ENCODER), thread_name_prefix="row-groups")
    return {"encoders": encoders, "hash_all": HashProcess()}
