"""What the driver's modules ask the machine for, in place of it: which process this is and whether another one runs; Parquet; threads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa

from embermill.jobs.dataset.metadata import commits, lease
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.receipt_table import to_receipts
from embermill.jobs.receipt import Receipt
from tests.jobs.simulation.rows import IN_PLACE_OF_ARROW, Rows
from tests.jobs.simulation.runs import Run

LEASE_S = 20.0
STALL_S = 60.0  # longer than a step of a slow worker
LONGEST_S = 4000.0  # of one life of a run in which nothing goes wrong but for workers that are broken, silent, slow or dead


def receipts_of(table: pa.Table | Rows) -> list[Receipt]:
    return list(table.receipts if isinstance(table, Rows) else to_receipts(table))


_TABLES: dict[bytes, pa.Table] = {}


def encode_commit(table: pa.Table | Rows) -> bytes:
    """In place of Parquet, which takes most of the time of a simulation otherwise: the same table gives the same bytes."""
    token = int((table.schema.metadata or {}).get(commits.TOKEN, b"0"))
    data = repr([token, *((made.partition, made.ordinal, made.shard_sha256, made.rows_in) for made in receipts_of(table))]).encode()
    _TABLES[data] = table.replace_schema_metadata({commits.TOKEN: str(token)})
    return data


def decode_commit(data: bytes) -> tuple[int, list[Receipt]]:
    table = _TABLES[data]
    return int(table.schema.metadata[commits.TOKEN]), receipts_of(table)


class _AnyTime:
    """In place of the wall clock, which nothing is decided by."""

    def isoformat(self, timespec: str) -> str:
        return "2026-01-01T00:00:00+00:00"


class _Serial:
    """In place of a pool of threads: what happens follows from the seed alone."""

    def __init__(self, threads: int) -> None:
        self.map = map

    def __enter__(self) -> _Serial:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, work: Callable[..., object], *arguments: object) -> _Done:
        return _Done(work(*arguments))


class _Done(NamedTuple):
    """In place of a future."""

    value: object

    def result(self) -> object:
        return self.value


@contextlib.contextmanager
def surroundings(runs: Mapping[str, Run], current: list[Run], *, arrow: bool) -> Iterator[None]:
    """What the modules ask the machine for: which process this is and whether another one runs; Parquet; threads."""

    def gone(process: Mapping[str, object]) -> bool:
        other = runs.get(str(process.get("pid")))
        return other is not None and other.host == current[0].host and not other.alive

    def running(process: Mapping[str, object]) -> bool:
        other = runs.get(str(process.get("pid")))
        return other is not None and other.host == current[0].host and other.alive

    def read(log: CommitLog, name: str) -> pa.Table | Rows:
        return _TABLES[log.folder.read(name)]

    _TABLES.clear()
    replacements: tuple[tuple[object, str, object], ...] = (
        (lease, "this_process", lambda: {"pid": current[0].name, "host": current[0].host}),
        (lease, "_now", _AnyTime),
        (lease, "is_gone", gone),
        (lease, "is_running", running),
        (commits, "sealed_parquet", encode_commit),
        (commits, "ThreadPoolExecutor", _Serial),
        (CommitLog, "_read", read),
        *((commits, name, value) for name, value in IN_PLACE_OF_ARROW.items() if not arrow),
    )
    before = [(place, name, getattr(place, name)) for place, name, _ in replacements]
    try:
        for place, name, value in replacements:  # mock.patch takes a twentieth of the time of a simulation
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)
