"""One writer of deletes: the same rows are the same file; one that stands is taken if it holds the same rows, however they were encoded."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.dataset.metadata.deletes import DELETED, deletes_schema, write_deletes
from embermill.jobs.dataset.metadata.versions import DELETES, VersionFile
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan
from tests.jobs.plan.plans import job, planned, table
from tests.jobs.stores.memory import MemoryFolder


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    table(tmp_path / "corpus/a.parquet", id=["a"], text=["some text"])
    return planned(job(tmp_path))


def deletes(plan: Plan, *ids: str) -> pa.Table:
    return pa.table([list(ids), [2] * len(ids), [DELETED] * len(ids)], schema=deletes_schema(plan))


FILE = VersionFile(7, DELETES, "changes/000002/deletes/part-000000000.parquet", 0, 0, "", 2)


def test_the_same_rows_are_the_same_file(plan: Plan) -> None:
    folder = MemoryFolder()
    first, second = (write_deletes(folder, plan, FILE, deletes(plan, "a", "b")) for _ in range(2))
    assert first == second and (first.rows, first.bytes) == (2, len(folder.read(FILE.name)))
    assert pq.read_table(io.BytesIO(folder.read(FILE.name))).equals(deletes(plan, "a", "b"))


def test_a_killed_sync_of_an_older_release_wrote_them_otherwise(plan: Plan) -> None:
    folder, sink = MemoryFolder(), io.BytesIO()
    pq.write_table(deletes(plan, "a", "b"), sink, compression="snappy", use_dictionary=False)
    folder.create(FILE.name, sink.getvalue())
    found = write_deletes(folder, plan, FILE, deletes(plan, "a", "b"))
    assert (found.bytes, found.sha256) == (len(sink.getvalue()), hashlib.sha256(sink.getvalue()).hexdigest())


@pytest.mark.parametrize("damaged", [False, True])
def test_other_rows_under_that_name_are_refused(plan: Plan, damaged: bool) -> None:
    folder = MemoryFolder()
    write_deletes(folder, plan, FILE, deletes(plan, "a", "c"))
    if damaged:
        data = folder.read(FILE.name)
        folder.remove(FILE.name)
        folder.create(FILE.name, data[:-9])
    with pytest.raises(DataError, match="it holds other deletes than this version has: move it away"):
        write_deletes(folder, plan, FILE, deletes(plan, "a", "b"))
