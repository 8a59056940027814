"""Which files there are, and how they are cut."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.plan.listing import changes_since
from tests.jobs.corpus.corpus_files import compress
from tests.jobs.plan.plans import ids, job, lines, planned, table


class TestFiles:
    def test_two_files_of_one_name_without_ids(self, tmp_path: Path) -> None:
        for folder in ("one", "two"):
            table(tmp_path / folder / "a.parquet", text=["x"])
        with pytest.raises(UsageError, match=r"one/a\.parquet and .*two/a\.parquet would give rows the same ids \(a\.parquet:POSITION\)"):
            planned(job(tmp_path, corpus={"files": ["one", "two"]}))
        assert ids(planned(job(tmp_path, corpus={"files": ["*/a.parquet"]}))) == ["one/a.parquet:0", "two/a.parquet:0"]

    def test_a_file_that_two_entries_match_is_taken_once(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
        table(tmp_path / "corpus/b.parquet", id=["b"], text=["x"])
        assert ids(planned(job(tmp_path, corpus={"files": ["corpus/b.*", "corpus"]}))) == ["b", "a"]

    def test_an_unknown_ending(self, tmp_path: Path) -> None:
        lines(tmp_path / "corpus/a.dat", {"id": "a", "text": "x"})
        with pytest.raises(UsageError, match=r"a\.dat: its name does not tell its format: expected \.parquet"):
            planned(job(tmp_path))
        assert ids(planned(job(tmp_path, corpus={"format": "jsonl"}))) == ["a"]

    def test_unreadable_files_fail_by_name_or_count_as_a_row_each(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
        (tmp_path / "corpus/b.parquet").write_bytes(b"no Parquet")
        (tmp_path / "corpus/c.jsonl.gz").write_bytes(b"no gzip")
        (tmp_path / "corpus/d.txt").symlink_to("nothing")
        with pytest.raises(DataError, match=r"3 of 4 corpus files cannot be read: .*b\.parquet: .*c\.jsonl\.gz: .*d\.txt: a link to nothing"):
            planned(job(tmp_path))
        plan = planned(job(tmp_path, corpus={"on_bad_file": "quarantine"}))
        batches = [batch for partition in plan.partitions for batch in read_rows(partition, plan.rows)]
        assert sum(batch.num_rows for batch in batches) == 4
        assert [Path(refusal.file).name for batch in batches for refusal in batch.refused] == ["b.parquet", "c.jsonl.gz", "d.txt"]
        assert {refusal.reason for batch in batches for refusal in batch.refused} == {"unreadable_file"}

    @pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.txt.gz"])
    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
    def test_lines_in_a_wide_encoding_are_refused_by_name(self, tmp_path: Path, name: str, encoding: str) -> None:
        data = '\ufeffid,text\n{"id": "a", "text": "Caf\u00e9"}\nb,x\n'.encode(encoding)
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus" / name).write_bytes(compress(data, "gzip") if name.endswith("gz") else data)
        kind = encoding[:6].upper()
        with pytest.raises(DataError, match=rf"{name}: is {kind}, as its byte order mark says, .*: convert it \(iconv -f {kind} -t UTF-8\)"):
            planned(job(tmp_path))

    def test_of_many_files_of_lines_each_is_looked_at_for_a_byte_order_mark(self, tmp_path: Path) -> None:
        for number in range(20):
            lines(tmp_path / f"corpus/{number:02}.jsonl", {"id": f"{number}", "text": "x"})
        (tmp_path / "corpus/19.jsonl").write_bytes('{"id": "a", "text": "x"}\n'.encode("utf-16"))
        with pytest.raises(DataError, match=r"19\.jsonl: is UTF-16"):
            planned(job(tmp_path))

    @pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.jsonl.gz", "a.csv.zst"])
    def test_files_but_no_rows(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "corpus").mkdir()
        data = compress(b"", "gzip") if name.endswith("gz") else compress(b"", "zstd") if name.endswith("zst") else b""
        (tmp_path / "corpus" / name).write_bytes(data)
        assert ids(planned(job(tmp_path))) == []
        table(tmp_path / "corpus/b.parquet", id=[1], text=["x"])
        assert ids(planned(job(tmp_path))) == [1]

    def test_lines_that_are_no_objects(self, tmp_path: Path) -> None:
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/a.jsonl").write_bytes(b"broken\n[1]\n")
        with pytest.raises(UsageError, match="no line of the JSONL files that were looked at is an object"):
            planned(job(tmp_path))
        lines(tmp_path / "corpus/b.jsonl", {"id": "b", "text": "x"})
        plan = planned(job(tmp_path))
        assert ids(plan) == ["b"] and sum(batch.num_rows for partition in plan.partitions for batch in read_rows(partition, plan.rows)) == 3

    def test_files_that_appeared_or_changed_since(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/b.parquet", id=["b"], text=["x"])
        plan = planned(job(tmp_path))
        assert changes_since(plan.listing, job(tmp_path).corpus) == ([], [])
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
        assert changes_since(plan.listing, job(tmp_path).corpus) == ([str(tmp_path / "corpus/a.parquet")], [])
        table(tmp_path / "corpus/b.parquet", id=["b", "c"], text=["x", "a longer text"])
        assert changes_since(plan.listing, job(tmp_path).corpus).changed == [str(tmp_path / "corpus/b.parquet")]
        shutil.rmtree(tmp_path / "corpus")
        assert changes_since(plan.listing, job(tmp_path).corpus) == ([], [])


class TestPartitions:
    def test_dictionary_encoded_text_is_sampled(self, tmp_path: Path) -> None:
        rows = 4_200
        table(tmp_path / "corpus/a.parquet", id=np.arange(rows), text=pa.array(["x" * 10_000]).take(pa.array(np.zeros(rows, int))))
        plan = planned(job(tmp_path, corpus={"partition_text_bytes": 4_200_000}))
        assert 10 <= len(plan.partitions) <= 16 and sum(partition.text_bytes for partition in plan.partitions) == pytest.approx(42_000_000, rel=0.01)

    @pytest.mark.parametrize(("device", "count"), [("cpu", 44), ("gpu", 1)])
    def test_auto_depends_on_the_device_only(self, tmp_path: Path, device: str, count: int) -> None:
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/a.txt").write_text("x" * 99 + "\n" + "y" * 1_999_999 + "\n")
        plan = planned(job(tmp_path, workers={"count": 7}), device)
        assert len(plan.partitions) == count and plan.config["corpus.partition_text_bytes"] == {"cpu": 262_144, "gpu": 67_108_864}[device]
        assert plan.partitions == planned(job(tmp_path, workers={"count": 1}), device).partitions

    def test_every_row_is_in_one_partition_in_every_format(self, tmp_path: Path) -> None:
        rows = [{"id": f"{n:04d}", "text": "word " * (n % 50)} for n in range(500)]
        table(tmp_path / "corpus/a.parquet", id=[row["id"] for row in rows], text=[row["text"] for row in rows])
        lines(tmp_path / "corpus/b.jsonl", *rows)
        (tmp_path / "corpus/c.jsonl.zst").write_bytes(compress((tmp_path / "corpus/b.jsonl").read_bytes(), "zstd"))
        (tmp_path / "corpus/d.csv").write_text("id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in rows))
        plan = planned(job(tmp_path, corpus={"partition_text_bytes": 3000}))
        assert ids(plan) == [row["id"] for row in rows] * 4 and len(plan.partitions) > 20

    def test_thousands_of_tiny_files(self, tmp_path: Path) -> None:
        (tmp_path / "corpus").mkdir()
        for number in range(4_000):
            (tmp_path / f"corpus/{number:05d}.txt").write_text(f"text {number}")
        plan = planned(job(tmp_path))
        assert len(plan.partitions) < 100
        texts = [text for partition in plan.partitions[:2] for batch in read_rows(partition, plan.rows) for text in batch.texts.to_pylist()]
        assert texts == [f"text {number}" for number in range(len(texts))] and len(texts) > 300


class TestLimit:
    @pytest.mark.parametrize("limit", [1, 3, 4, 7, 11, 12, 100])
    @pytest.mark.parametrize("form", ["parquet", "jsonl", "jsonl.gz", "csv", "txt", "txt.zst"])
    def test_the_first_rows_of_every_format(self, tmp_path: Path, form: str, limit: int) -> None:
        (tmp_path / "corpus").mkdir()
        for number in range(3):
            names = [f"{number}-{row}" for row in range(4)]
            path = tmp_path / f"corpus/{number}.{form}"
            if form == "parquet":
                pq.write_table(pa.table({"id": names, "text": names}), path, row_group_size=3)
                continue
            data = {"j": "".join(f'{{"text":"{name}"}}\n\n' for name in names), "c": "text\n" + "\n".join(names), "t": "\n".join(names)}[form[0]].encode()
            path.write_bytes(compress(data, "gzip") if form.endswith("gz") else compress(data, "zstd") if form.endswith("zst") else data)
        plan = planned(job(tmp_path, corpus={"partition_text_bytes": 12}), limit=limit)
        texts = [text for partition in plan.partitions for batch in read_rows(partition, plan.rows) for text in batch.texts.to_pylist()]
        assert texts == [f"{number}-{row}" for number in range(3) for row in range(4)][:limit]

    def test_refused_rows_count(self, tmp_path: Path) -> None:
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/a.jsonl").write_bytes(b'{"id":"1","text":"a"}\nbroken\n{"id":"3","text":"c"}\n')
        plan = planned(job(tmp_path), limit=2)
        assert sum(batch.num_rows for partition in plan.partitions for batch in read_rows(partition, plan.rows)) == 2 and ids(plan) == ["1"]


def test_the_corpus_on_an_object_store_plans_and_reads_as_on_a_disk(tmp_path: Path, s3_folder_url: str, put_object: Callable[[str, bytes], None]) -> None:
    rows = [{"text": f"text {n} " + "é" * (n % 70)} for n in range(2000)]
    table(tmp_path / "corpus/sub folder/a%20b.parquet", text=[row["text"] for row in rows])
    lines(tmp_path / "corpus/b c.jsonl", *rows)
    (tmp_path / "corpus/d.txt.gz").write_bytes(compress("".join(row["text"] + "\n" for row in rows).encode(), "gzip"))
    for path in (tmp_path / "corpus").rglob("*.*"):
        put_object(f"{s3_folder_url}/{path.relative_to(tmp_path / 'corpus')}", path.read_bytes())
    local, remote = (
        planned(job(tmp_path, corpus={"files": files, "partition_text_bytes": 20_000, "on_schema_drift": "null"})) for files in (["corpus"], [s3_folder_url])
    )
    assert ids(local) == ids(remote) and len(ids(remote)) == 6000
    assert [partition.text_bytes for partition in local.partitions] == [partition.text_bytes for partition in remote.partitions]
