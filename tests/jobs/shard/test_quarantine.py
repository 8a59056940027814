from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from embermill.jobs.shard.contents import Damaged
from embermill.jobs.shard.quarantine import MAX_ERROR_CHARACTERS, REASONS, SCHEMA, QuarantineWriter, read_quarantine
from tests.jobs.sample_dataset import refuse


def write(path: Path, *refusals: object, footer: dict[str, str] | None = None) -> None:
    writer = QuarantineWriter(path)
    writer.add(refusals)  # type: ignore[arg-type]
    writer.close(footer or {})


def test_the_file_says_what_was_refused_and_where(tmp_path: Path) -> None:
    in_parquet = refuse(7, row_count=5, reason="corrupt_row_group")
    in_jsonl = replace(refuse(20), id="x", first_row=None, first_byte=4096, text_bytes=17)
    write(tmp_path / "q.parquet", in_parquet, in_jsonl, footer={"key": "value"})
    table = pq.read_table(tmp_path / "q.parquet")
    assert table.schema.equals(SCHEMA, check_metadata=False) and pq.read_metadata(tmp_path / "q.parquet").metadata[b"key"] == b"value"
    assert table.to_pylist() == [
        {"id": None, "file": "/corpus/a.parquet", "first_row": 7, "first_byte": None, "row_count": 5, "reason": "corrupt_row_group",
         "error": "byte 0xff at 3", "text_bytes": None},
        {"id": "x", "file": "/corpus/a.parquet", "first_row": None, "first_byte": 4096, "row_count": 1, "reason": "invalid_utf8",
         "error": "byte 0xff at 3", "text_bytes": 17},
    ]


def test_rows_are_counted_and_not_entries(tmp_path: Path) -> None:
    with QuarantineWriter(tmp_path / "q.parquet") as writer:
        writer.add([refuse(0, row_count=500, reason="corrupt_row_group"), refuse(900)])
        assert (writer.entries, writer.rows) == (2, 501)
        writer.close({})
        contents = read_quarantine(writer.path)
        assert (contents.entries, contents.rows) == (2, 501)


def test_many_entries_are_written_in_fixed_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.shard.quarantine.ENTRIES_PER_ROW_GROUP", 10)
    entries = [refuse(row) for row in range(25)]
    write(tmp_path / "one.parquet", *entries)
    writer = QuarantineWriter(tmp_path / "many.parquet")
    for entry in entries:
        writer.add([entry])
    writer.close({})
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "many.parquet").read_bytes()
    assert pq.ParquetFile(tmp_path / "one.parquet").num_row_groups == 3


def test_an_unknown_reason_is_a_defect(tmp_path: Path) -> None:
    with QuarantineWriter(tmp_path / "q.parquet") as writer, pytest.raises(ValueError, match="bad_luck"):
        writer.add([refuse(0, reason="bad_luck")])
    assert len(set(REASONS)) == len(REASONS)


def test_broken_text_in_names_and_errors_is_stored_readably(tmp_path: Path) -> None:
    write(tmp_path / "q.parquet", replace(refuse(0), file="/corpus/\udcff.txt", error="\ud800" + "x" * 5000))
    (row,) = pq.read_table(tmp_path / "q.parquet").to_pylist()
    assert row["file"] == "/corpus/\\udcff.txt" and row["error"].startswith("\\ud800x") and len(row["error"]) == MAX_ERROR_CHARACTERS


def test_a_writer_that_is_left_removes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.shard.quarantine.ENTRIES_PER_ROW_GROUP", 1)
    with QuarantineWriter(tmp_path / "q.parquet") as writer:
        writer.add([refuse(0)])
        assert writer.path.exists()
    assert not writer.path.exists()


def test_the_digest_ignores_the_wording_of_an_error_and_nothing_else(tmp_path: Path) -> None:
    digests = []
    for number, entry in enumerate([refuse(1), replace(refuse(1), error="other words"), replace(refuse(1), first_row=2), replace(refuse(1), id="x")]):
        write(tmp_path / f"{number}.parquet", entry)
        digests.append(read_quarantine(tmp_path / f"{number}.parquet").key_digest)
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_a_torn_file_is_damaged(tmp_path: Path) -> None:
    write(tmp_path / "q.parquet", refuse(0))
    data = (tmp_path / "q.parquet").read_bytes()
    for length in (0, 4, 11, len(data) // 2, len(data) - 1):
        (tmp_path / "torn.parquet").write_bytes(data[:length])
        with pytest.raises(Damaged):
            read_quarantine(tmp_path / "torn.parquet")
