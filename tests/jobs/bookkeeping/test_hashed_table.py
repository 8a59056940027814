"""A table named by the hash of its content: written once, whoever writes it; read only as it was written."""

from __future__ import annotations

import pyarrow as pa
import pytest

from embermill.jobs.bookkeeping.hashed_table import create_hashed, decode_table, encode_table, read_hashed
from embermill.jobs.bookkeeping.table_form import require_table
from embermill.jobs.errors import MetadataDamaged
from tests.jobs.stores.memory import MemoryFolder

TABLE = pa.table({"name": ["a", "b"], "rows": [1, 2]})
REMEDY = "Restore it from a backup"


def test_two_writers_write_one_file() -> None:
    folder = MemoryFolder()
    first, second = (create_hashed(folder, "_embermill/things", encode_table(TABLE), remedy=REMEDY) for _ in range(2))
    assert first == second and [name for name, _ in folder.list("_embermill")] == [first["file"]]
    assert first["file"].startswith("_embermill/things-") and first["sha256"].startswith(first["file"].removesuffix(".pq")[-32:])
    assert decode_table(read_hashed(folder, first, named_by="the plan", remedy=REMEDY)).equals(TABLE)


@pytest.mark.parametrize("place", [0, 50, -1])
def test_one_flipped_byte_is_told_to_reader_and_writer(place: int) -> None:
    folder = MemoryFolder()
    described = create_hashed(folder, "things", encode_table(TABLE), remedy=REMEDY)
    data = bytearray(folder.read(described["file"]))
    data[place] ^= 1
    folder.remove(described["file"])
    folder.create(described["file"], bytes(data))
    with pytest.raises(MetadataDamaged, match=r"is damaged: its SHA-256 is not the one that the plan holds\. Restore it from a backup\.$"):
        read_hashed(folder, described, named_by="the plan", remedy=REMEDY)
    with pytest.raises(MetadataDamaged, match="is damaged: its content is not what it is named by"):
        create_hashed(folder, "things", encode_table(TABLE), remedy=REMEDY)


def test_one_that_is_gone() -> None:
    folder = MemoryFolder()
    described = create_hashed(folder, "things", encode_table(TABLE), remedy=REMEDY)
    folder.remove(described["file"])
    with pytest.raises(MetadataDamaged, match="is gone, though the plan names it"):
        read_hashed(folder, described, named_by="the plan", remedy=REMEDY)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"name": ["a"], "rows": ["1"]}), "column rows: expected int64, got string"),
        (pa.table({"name": ["a", None], "rows": [1, 2]}), "column name holds nulls"),
        (pa.table({"name": ["a"], "rows": [-1]}), "column rows holds a negative number"),
    ],
)
def test_a_table_of_another_form(table: pa.Table, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        require_table(table, TABLE.schema, ())


@pytest.mark.parametrize("data", [b"", b"PAR1 and nothing else PAR1", encode_table(TABLE)[:-20] + encode_table(TABLE)[-8:]])
def test_what_is_no_parquet_file_is_told_as_that(data: bytes) -> None:
    with pytest.raises(ValueError, match="it is not a whole Parquet file"):
        decode_table(data)
