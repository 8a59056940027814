"""Parquet by row range: every encoding of a column, every way in which a file can be wrong."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.errors import DataError, InputChanged
from embermill.jobs.plan.packing import pack
from embermill.jobs.storage.local import LocalInput
from tests.jobs.corpus.corpus_files import Piece, read, schema, segment


def whole(path: Path, rows: int) -> Any:
    return segment(path, "parquet", kind="rows", end=rows)


def test_any_cut_covers_each_row_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("cuts") / "x.parquet"
    pq.write_table(pa.table({"id": pa.array(range(100)), "text": [f"text {n}" for n in range(100)]}), path, row_group_size=30)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.integers(0, 100), max_size=5), st.integers(1, 40))
    def check(cuts: list[int], batch_rows: int) -> None:
        segments = [segment(path, "parquet", kind="rows", start=start, end=end) for start, end in pairwise(sorted({0, 100, *cuts}))]
        found = read(segments, schema(id_type=pa.int64()), batch_rows=batch_rows)
        assert found.ids == list(range(100)) and found.texts == [f"text {n}" for n in range(100)]

    check()


STRINGS = ["plain", "", "é🙂", None, "plain"]
ENCODINGS: dict[str, pa.Array] = {
    "string": pa.array(STRINGS),
    "large_string": pa.array(STRINGS, pa.large_string()),
    "string_view": pa.array(STRINGS, pa.string_view()),
    "dictionary": pa.array(STRINGS).dictionary_encode(),
    "large_dictionary": pa.array(STRINGS, pa.large_string()).dictionary_encode(),
    "binary": pa.array(STRINGS).cast(pa.binary()),
    "large_binary": pa.array(STRINGS).cast(pa.large_binary()),
}


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("as_dictionary", [True, False])
def test_every_encoding_of_text(tmp_path: Path, name: str, as_dictionary: bool) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"text": ENCODINGS[name], "other": pa.array(["a", None, "c", None, "e"])}), path, use_dictionary=as_dictionary)
    found = read(whole(path, 5), schema(id_column=None, text=("text", "other"), separator=" | "))
    assert found.texts == ["plain | a", "", "é🙂 | c", "plain | e"] and found.reasons == ["null_text"]
    assert found.ids == [f"x.parquet:{row}" for row in (0, 1, 2, 4)]
    if "binary" not in name:
        kept = read(whole(path, 5), schema(id_column=None, text=("other",), kept={"text": pa.string()}))
        assert kept.kept == [("plain",), ("é🙂",), ("plain",)]


@pytest.mark.parametrize(
    ("ids", "kind", "expected"),
    [
        (pa.array([1, 2, None], pa.int32()), pa.int32(), [1, 2]),
        (pa.array([1, 2, None], pa.uint64()), pa.uint64(), [1, 2]),
        (pa.array([1, 2, None]).dictionary_encode(), pa.int64(), [1, 2]),
        (pa.array([1.5, 2.0, None]), pa.string(), ["1.5", "2"]),
        (pa.array([b"a", b"b", None]), pa.string(), ["a", "b"]),
        (pa.array([b"\x01\xff", b"ab", None], pa.binary(2)), pa.string(), ["01ff", "6162"]),
        (pa.array([0, 86_400_000, None], pa.timestamp("ms")), pa.string(), ["1970-01-01 00:00:00.000", "1970-01-02 00:00:00.000"]),
    ],
)
def test_ids_keep_their_type_or_become_strings(tmp_path: Path, ids: pa.Array, kind: pa.DataType, expected: list[Any]) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": ids, "text": ["a", "b", "c"]}), path)
    found = read(whole(path, 3), schema(id_type=kind))
    assert (found.ids, found.reasons, found.refused[0].first_row) == (expected, ["null_id"], 2)


def test_nested_kept_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    tags = pa.array([["a", None], None, []], pa.large_list(pa.large_string()))
    made = pa.array([{"by": "x", "when": 1}, None, {"by": None, "when": 2}])
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": ["a", "b", "c"], "tags": tags, "made": made, "made.by": ["dot", "in", "name"]}), path)
    found = read(whole(path, 3), schema(kept={"tags": pa.list_(pa.string()), "made": made.type, "made.by": pa.string()}))
    assert found.kept == [(["a", None], {"by": "x", "when": 1}, "dot"), (None, None, "in"), ([], {"by": None, "when": 2}, "name")]


def invalid(*values: bytes, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string()) if kind is None else pa.array(values, pa.large_binary()).view(kind)


@pytest.mark.parametrize("column", ["id", "text", "kept", "nested"])
@pytest.mark.parametrize("as_dictionary", [True, False])
def test_invalid_utf8_costs_its_row(tmp_path: Path, column: str, as_dictionary: bool) -> None:
    path = tmp_path / "x.parquet"
    bad = invalid(b"one", b"\xff\xfe", b"split \xc3", b"\xa9 char", b"five")
    good = pa.array(["1", "2", "3", "4", "5"])
    nested = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4, 5]), bad if column == "nested" else good)
    table = pa.table({name: bad if name == column else good for name in ("id", "text", "kept")} | {"nested": nested})
    pq.write_table(table, path, use_dictionary=as_dictionary)
    found = read(whole(path, 5), schema(kept={"kept": pa.string(), "nested": pa.list_(pa.string())}))
    assert list(found.rows) == [0, 4] and found.reasons == ["invalid_utf8"] * 3
    assert [refusal.first_row for refusal in found.refused] == [1, 2, 3]


def test_long_text_and_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "c"], "title": ["x" * 9, "x" * 9, None], "body": ["y" * 10, "y" * 11, "z" * 21]}), path)
    found = read(whole(path, 3), schema(text=("title", "body"), max_text_bytes=20))
    assert found.ids == ["a"] and [(refusal.reason, refusal.text_bytes) for refusal in found.refused] == [("text_too_long", 21)] * 2


class TestDamage:
    IDS = tuple(str(n) for n in range(300))

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "x.parquet"
        texts = [f"text {n} {os.urandom(40).hex()}" for n in range(300)]
        table = pa.table({"id": list(self.IDS), "text": texts})
        pq.write_table(table, path, row_group_size=100, compression="zstd", use_dictionary=False, write_page_checksum=True)
        return path

    def damage(self, path: Path, group: int, column: int, length: int = 1) -> None:
        chunk = pq.ParquetFile(path).metadata.row_group(group).column(column)
        data = bytearray(path.read_bytes())
        start = chunk.data_page_offset + chunk.total_compressed_size // 2
        data[start : start + length] = bytes(byte ^ 0x55 for byte in data[start : start + length])
        path.write_bytes(data)

    @pytest.mark.parametrize("length", [1, 300])
    def test_a_corrupt_row_group_is_one_entry(self, path: Path, length: int) -> None:
        self.damage(path, 1, 1, length)
        found = read(whole(path, 300), schema())
        assert found.ids == [*self.IDS[:100], *self.IDS[200:]] and found.num_rows == 300
        assert [(refusal.reason, refusal.first_row, refusal.row_count, refusal.first_byte) for refusal in found.refused] == [
            ("corrupt_row_group", 100, 100, None)
        ]
        assert "row group 1" in found.refused[0].error

    def test_only_the_planned_range_is_refused(self, path: Path) -> None:
        self.damage(path, 1, 0)
        found = [read(segment(path, "parquet", kind="rows", start=start, end=end), schema()) for start, end in ((0, 130), (130, 150), (190, 300))]
        assert [[(refusal.first_row, refusal.row_count) for refusal in part.refused] for part in found] == [[(100, 30)], [(130, 20)], [(190, 10)]]
        assert [identity for part in found for identity in part.ids] == [*self.IDS[:100], *self.IDS[200:]]

    @pytest.mark.parametrize(
        "damage", [lambda data: b"", lambda data: b"PAR1", lambda data: b"PAR1 no Parquet PAR1", lambda data: data[:-1], lambda data: data[:-8] + b"\xff" * 8]
    )
    def test_no_parquet_file(self, path: Path, damage: Any) -> None:
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataError, match=r"x\.parquet: not a readable Parquet file"):
            read(whole(path, 300), schema())


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(1000)], "text": ["x" * 500] * 1000}), path, row_group_size=100, use_dictionary=False)
    (partition,) = pack([Piece(whole(path, 1000), 500_000)], 1 << 60)
    batches = read_rows(partition, schema(), batch_rows=50)
    next(batches)
    path.write_bytes(path.read_bytes()[:-1] + b"2")
    with pytest.raises(InputChanged, match=r"x\.parquet: changed after planning"):
        list(batches)
    path.unlink()
    with pytest.raises(InputChanged, match="vanished"):
        list(read_rows(partition, schema()))


def test_a_file_replaced_by_rename_does_no_harm_to_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(1000)], "text": ["x"] * 1000}), path, row_group_size=100)
    (partition,) = pack([Piece(whole(path, 1000), 500_000)], 1 << 60)
    batches = read_rows(partition, schema(), batch_rows=50)
    next(batches)
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "other").rename(path)
    assert sum(batch.num_rows for batch in batches) == 950


class TestDrift:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({"id": ["a", "b", "c"], "text": ["x", "y", "z"], "k": ["1", None, "three"]}), path)
        return path

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            (schema(kept={"k": pa.int64()}), r"x\.parquet: column 'k' has type string; this job reads it as int64"),
            (schema(kept={"nothing": pa.int64()}), r"x\.parquet: column 'nothing' is missing; this job reads it as int64"),
            (schema(id_type=pa.int64()), r"x\.parquet: column 'id' has type string; this job reads it as int64"),
        ],
    )
    def test_fail(self, path: Path, rows: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            read(whole(path, 3), rows)

    def test_cast_refuses_only_what_cannot_be_cast(self, path: Path) -> None:
        found = read(whole(path, 3), schema(kept={"k": pa.int64(), "nothing": pa.list_(pa.int8())}, drift="cast"))
        assert found.ids == ["a", "b"] and found.kept == [(1, None), (None, None)] and found.reasons == ["uncastable"]
        assert "three" in found.refused[0].error

    def test_cast_that_does_not_exist(self, path: Path) -> None:
        found = read(whole(path, 3), schema(kept={"k": pa.list_(pa.int64())}, drift="cast"))
        assert found.ids == ["b"] and found.reasons == ["uncastable"] * 2

    def test_null(self, path: Path) -> None:
        found = read(whole(path, 3), schema(kept={"k": pa.int64()}, drift="null"))
        assert found.ids == ["a", "b", "c"] and found.kept == [(None,)] * 3
        assert read(whole(path, 3), schema(text=("nothing",), drift="null")).reasons == ["null_text"] * 3

    def test_all_columns_gone(self, path: Path) -> None:
        found = read(whole(path, 3), schema(id_column="i", text=("t",), drift="null"), batch_rows=2)
        assert found.num_rows == 3 and found.reasons == ["null_id"] * 3


def test_a_large_row_group_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": np.arange(40_000), "text": [os.urandom(250).hex() for _ in range(40_000)]}), path, use_dictionary=False)
    reads: list[int] = []
    read_bytes = LocalInput.read
    monkeypatch.setattr(LocalInput, "read", lambda self, size=-1: reads.append(size) or read_bytes(self, size))
    assert read(whole(path, 40_000), schema(id_type=pa.int64())).num_rows == 40_000
    assert path.stat().st_size > 10 << 20 and max(reads) < 3 << 20 and min(reads) > 0


def test_empty_row_groups_and_files(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"id": ["a"], "text": ["x"]})
    with pq.ParquetWriter(path, table.schema) as writer:
        for part in (table.slice(0, 0), table, table.slice(0, 0), table):
            writer.write_table(part)
    assert read(whole(path, 2), schema()).ids == ["a", "a"]


def test_batches_are_bounded_where_a_dictionary_hides_the_size(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": np.arange(2000), "text": pa.array(["x" * 100_000]).take(pa.array(np.zeros(2000, int)))}), path)
    assert path.stat().st_size < 100_000
    (partition,) = pack([Piece(whole(path, 2000), 2000 * 100_000)], 1 << 60)
    before = pa.total_allocated_bytes()
    peak = 0
    for batch in read_rows(partition, schema(id_type=pa.int64()), batch_bytes=1 << 20):
        assert batch.texts.nbytes <= (1 << 20) + 100
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 20 << 20
