"""What crosses the pool: plain data, always picklable, nothing of Ray and nothing of the engine.

    driver -> worker   Task, of one of KINDS
    worker -> driver   Ready, then of each partition Progress and Receipt, any number, and at the end Done or Failed; Measured, of a sample
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from embermill.jobs.bookkeeping.stored_keys import added
from embermill.jobs.partition import Partition

EMBED = "embed"  # read, embed, write shards
SCAN = "scan"  # of a sync: what is in new and changed files; one file of keys
DIFFERENCE = "difference"  # of a sync: a run of buckets held against the version before; the partition has no segments
COPY = "copy"  # of a sync: read, take the vectors from other shards, write shards
SPLIT_KEYS = "split_keys"  # of the first sync: the keys of some shards, bucket by bucket; the partition has no segments
COLLECT_KEYS = "collect_keys"  # of the first sync: a run of buckets, from all of those; the partition has no segments
CUT = "cut"  # of a sync of a dataset of chunks: documents of a scanned partition; one file of cuts
IMPORT = "import"  # of a sync: vectors that are given, one file of them
TOKENIZE = "tokenize"  # read, and compare the token ids of every row with those that count; publishes nothing
MEASURE = "measure"  # before there is a plan: embed a sample, write nothing, answer with Measured
KINDS = (EMBED, SCAN, DIFFERENCE, COPY, SPLIT_KEYS, COLLECT_KEYS, CUT, IMPORT, TOKENIZE, MEASURE)
STAGES = ("read", "tokenize", "encode", "write")


def shares_of(seconds: Mapping[str, float]) -> dict[str, float]:
    """seconds: busy seconds by stage. Returns of each stage its share of all; 0 before anything is known."""
    total = sum(seconds.values())
    return {stage: seconds.get(stage, 0.0) / total if total else 0.0 for stage in STAGES}


@dataclass(frozen=True)
class Sample:
    """What a task of kind MEASURE is to embed. rows: how the corpus is read. texts: how many, of those in the partition. forms: what is to be measured."""

    rows: Any  # corpus.rows.RowSchema
    forms: tuple[Any, ...]  # vectors.form.StoredVector
    texts: int


@dataclass(frozen=True)
class Task:
    """One piece of work. kind: what is to be done with the partition, see below; the driver treats all kinds alike.

    `skip`: ordinals of its shards that are committed already. attempt: which submission this is; Done and Failed name it.

    isolate: rows that the engine fails on go to the quarantine, each by itself, and their neighbours are embedded; else the partition fails, so that it
    is first seen whether it fails on another worker, too.
    """

    partition: Partition
    skip: frozenset[int] = frozenset()
    attempt: int = 0
    isolate: bool = False
    kind: str = EMBED
    sample: Sample | None = None


@dataclass(frozen=True)
class Ready:
    """A worker's report of itself, once its engine is loaded; the first one resolves what is `auto`.

    device_kind: "cpu" or "gpu". precision: what the engine computes in. fingerprint, outputs: the engine's own.
    """

    device_kind: str
    device_name: str
    device_uuid: str
    precision: str
    fingerprint: dict[str, str]
    outputs: tuple[Any, ...]  # engine.Output
    host: str
    pid: int
    threads: int
    kernel_set: str = ""
    seconds_to_load: float = 0.0
    shortening: Any = None  # engine.Shortening, where the engine says it
    node: str = ""  # what the pool calls the machine it is on; "" where there is one alone


@dataclass(frozen=True)
class Progress:
    """How far a partition is. rows, tokens: since this partition's last Progress, and text_bytes: of the texts that they are of, with what a limit
    dropped of them. seconds: busy seconds of each stage since then."""

    partition: int
    stage: str
    rows: int
    tokens: int
    time_s: float  # the worker's monotonic clock
    seconds: dict[str, float] = field(default_factory=dict)
    text_bytes: int = 0


@dataclass(frozen=True)
class Receipt:
    """One shard (and the quarantine file beside it) that is published and ready to be committed.

    rows_in == rows_out + rows_quarantined, always. `shard` is None where every row was refused or there were none.
    `last`: no further shard follows in this partition. `provenance`: what differs from run to run, never compared.
    """

    partition: int
    ordinal: int
    partition_id: str
    last: bool
    rows_in: int
    rows_out: int
    rows_quarantined: int
    shard: str | None  # name relative to the dataset, "data/part-….parquet"
    shard_bytes: int
    shard_sha256: str
    quarantine: str | None
    quarantine_bytes: int
    quarantine_sha256: str
    first_id: str | None
    last_id: str | None
    documents: int
    tokens: int
    tokens_dropped: int
    rows_truncated: int
    token_lengths: tuple[tuple[int, int], ...]  # (length bucket's upper bound, documents), see token_lengths.count_lengths
    adopted: bool
    provenance: dict[str, str]
    input_digest: str = added("")  # of all that was read for it (corpus.input_digest); "" where the plan is from before there was one
    values_clipped: int = added(0)  # numbers of its vectors that were too large for their codes, in all columns together
    unknown_words: int = added(0)  # of chunks: pieces of over 64 characters of words that are one unknown token


class Shard(NamedTuple):
    """Of a receipt what progress is counted by. A Receipt serves as well."""

    partition: int
    ordinal: int
    last: bool
    tokens: int = 0


@dataclass(frozen=True)
class Failed:
    """A partition that could not be finished. kind: "input_changed", "bad_data", "engine", "storage", "usage" (only a person can change it), "defect".

    bad_data and input_changed are tried once more, on another worker, where there is one; the others three times. The traceback crosses as text.
    """

    partition: int
    kind: str
    message: str
    traceback: str = ""
    attempt: int = 0


@dataclass(frozen=True)
class Done:
    """All that was asked of a partition is reported; the worker has left it."""

    partition: int
    attempt: int = 0


@dataclass(frozen=True)
class Alive:
    """A worker's process runs, whether it has work or not; every few seconds."""


@dataclass(frozen=True)
class Measured:
    """The answer to a task of kind MEASURE. forms: with scale and ranges. texts: that were embedded for it."""

    forms: tuple[Any, ...]  # vectors.form.StoredVector
    texts: int


Event = Ready | Progress | Receipt | Done | Failed | Alive | Measured
