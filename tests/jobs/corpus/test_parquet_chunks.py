"""Column chunk metadata that Arrow does not accept: its Python binding ends the process where it is asked for it."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.corpus.formats.parquet import open_parquet, survey_parquet
from embermill.jobs.corpus.parquet_chunks import ColumnChunks
from embermill.jobs.storage import list_inputs, open_input
from tests.jobs.corpus.corpus_files import read, schema, segment

HISTOGRAM = b"\x19\x06\x19\x26\x00\x14"  # in Thrift's compact protocol: no repetition levels, then a list of two i64: no row is null, ten are not
SHORTER = b"\x19\x06\x19\x16\x14"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three row groups of ten rows; the size statistics of the second have a histogram of definition levels that is too short."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": [str(row) for row in range(30)], "text": [f"text {row}" for row in range(30)]}), path, row_group_size=10)
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    pages, footer = data[: -8 - length], data[-8 - length : -8]
    parts = footer.split(HISTOGRAM)
    assert len(parts) == 7, "expected one histogram for each of two columns in three row groups"
    footer = HISTOGRAM.join(parts[:4]) + SHORTER + HISTOGRAM.join(parts[4:])
    path.write_bytes(pages + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path


def test_a_chunk_that_arrow_does_not_accept_is_not_asked_for(file: Path) -> None:
    [(_, info)] = list_inputs(str(file))
    source = open_input(info.path, info.size, info.version)
    with open_parquet(source, info.path) as opened:
        both, text = ColumnChunks(opened, ["id", "text"]), ColumnChunks(opened, ["text"])
        assert [len(both.of(group)) for group in range(3)] == [2, 0, 2]
        assert [len(text.of(group)) for group in range(3)] == [1, 0, 1] and text.num_bytes(0) > 0 == text.num_bytes(1)
        assert ColumnChunks(opened, []).of(0) == []
    source.close()


def test_the_corpus_is_planned_and_the_row_group_refused(file: Path) -> None:
    [(_, info)] = list_inputs(str(file))
    source = open_input(info.path, info.size, info.version)
    types, groups, _ = survey_parquet(source, info.path, ("text",), ("id",))
    source.close()
    assert list(types) == ["id", "text"] and [group.rows for group in groups] == [10, 10, 10] and groups[1].text_bytes > 0
    found = read([segment(file, "parquet", kind="rows", end=30)], schema())
    assert found.texts == [f"text {row}" for row in (*range(10), *range(20, 30))]
    assert [(refusal.reason, refusal.row_count) for refusal in found.refused] == [("corrupt_row_group", 10)]


def test_a_file_that_was_looked_at_is_let_go(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"] * 40}), tmp_path / "a.parquet", row_group_size=10)
    opened = list[weakref.ref[pq.ParquetFile]]()
    for _ in range(10):
        with pq.ParquetFile(tmp_path / "a.parquet") as file:
            assert ColumnChunks(file, ["text"]).num_bytes(0) > 0
            opened.append(weakref.ref(file))
    del file
    gc.collect()
    assert [each() for each in opened] == [None] * 10
