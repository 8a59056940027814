"""What a job does differently for each kind of device: the one table of the job that is keyed by it."""

from __future__ import annotations

from typing import NamedTuple

FEW_CORES = 4  # of a worker: with fewer, nothing is done beside its own threads


class DeviceTuning(NamedTuple):
    """queued_per_worker: partitions that a worker has at a time. partition_text_bytes: what corpus.partition_text_bytes: auto means.

    batch_rows, batch_text_bytes: of what goes to the engine at once. first_text_bytes: as long as it has answered nothing.
    cutting_share: processes that cut documents, for each core of a worker. tokenizing_share: that tokenize, where no faster
    library is at work. arenas_per_thread, mimalloc_purge_delay_ms: of its allocators.
    bench_tokens: of one load of `embermill bench`.
    """

    queued_per_worker: int
    partition_text_bytes: int
    batch_rows: int
    batch_text_bytes: int
    first_text_bytes: int
    cutting_share: float
    tokenizing_share: float
    arenas_per_thread: int
    mimalloc_purge_delay_ms: int
    bench_tokens: int


DEVICE_TUNING = {
    "cpu": DeviceTuning(
        queued_per_worker=2,
        partition_text_bytes=256 << 10,
        batch_rows=16_384,
        batch_text_bytes=128 << 10,
        first_text_bytes=4 << 10,  # about a thousand tokens; the largest models need ten seconds for them on one core
        cutting_share=1 / 8,  # it computes on the others
        tokenizing_share=0,
        arenas_per_thread=2,
        mimalloc_purge_delay_ms=0,
        bench_tokens=1 << 13,
    ),
    "gpu": DeviceTuning(
        queued_per_worker=4,  # a GPU is through with a small one before the driver hears that the one before is published
        partition_text_bytes=64 << 20,
        batch_rows=16_384,
        batch_text_bytes=4 << 20,
        first_text_bytes=4 << 20,
        cutting_share=5 / 8,  # 10 of 16; tokenizing and writing take the others
        tokenizing_share=3 / 4,
        arenas_per_thread=8,  # glibc's own: 8 for each core
        mimalloc_purge_delay_ms=10,  # mimalloc's own
        bench_tokens=1 << 20,
    ),
}


def cutting_processes(device: str, threads: int) -> int:
    """threads: of the CPU that the worker may use. One with few of them cuts in the thread that reads."""
    return _of(threads, DEVICE_TUNING[device].cutting_share)


def tokenizing_processes(device: str, threads: int) -> int:
    """threads: as above. A worker with few of them tokenizes by itself."""
    return _of(threads, DEVICE_TUNING[device].tokenizing_share)


def _of(threads: int, share: float) -> int:
    return int(threads * share) if threads >= FEW_CORES else 0
