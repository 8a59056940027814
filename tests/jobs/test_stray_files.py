"""Files that lie among good ones and are odd: each is read, or is one clear line with exit code 2 or 3; none is a defect of ours."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.bookkeeping.seal import sealed_parquet
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.receipt_table import SCHEMA
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]
Command = Callable[..., Answer]
LINE = b'{"id":"b","text":"y"}\n'
PACKED = gzip.compress(LINE, mtime=0)


def parquet(**columns: list[object]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "code", "rows", "words"),
    [
        ("b.tsv", b"id\ttext\nb\ty\n", 2, 0, "its name does not tell its format"),
        ("b", b"no ending", 2, 0, "its name does not tell its format"),
        ("b.csv", b"", 0, 1, ""),
        ("b.csv", b"id,text\n", 0, 1, ""),
        ("b.csv", b"\n\n", 0, 1, ""),
        ("b.csv", b"id,text\nb,y\n", 0, 2, ""),
        ("b.csv", b"id,id\nb,y\n", 3, 0, "two columns of one name: id"),
        ("b.csv", b'"id,text\nb,y\n', 3, 0, "its header cannot be read"),
        ("b.csv", b"\xff\xfei\0d\0", 3, 0, "b.csv"),
        ("b.jsonl", b"", 0, 1, ""),
        ("b.jsonl", b"\n \n", 0, 1, ""),
        ("b.jsonl", b"\0" * 5000, 0, 1, ""),
        ("b.jsonl", b"[1, 2]\n", 0, 1, ""),
        ("b.txt", b"", 0, 1, ""),
        ("b.parquet", b"", 3, 0, "not a readable Parquet file"),
        ("b.parquet", b"PAR1", 3, 0, "not a readable Parquet file"),
        ("b.parquet", parquet(id=[], text=[]), 0, 1, ""),
        ("b.parquet", parquet(), 0, 1, ""),
        ("b.jsonl.gz", PACKED, 0, 2, ""),
        ("b.jsonl.gz", PACKED + bytes(512), 0, 2, ""),
        ("b.jsonl.gz", PACKED + bytes(300_000) + PACKED.replace(b"b", b"b") + bytes(7), 0, 3, ""),
        ("b.jsonl.gz", b"", 0, 1, ""),
        ("b.jsonl.gz", bytes(512), 3, 0, "cannot be decompressed"),
        ("b.jsonl.gz", PACKED[:-4], 3, 0, "cannot be decompressed"),
        ("b.jsonl.gz", PACKED + b"more", 3, 0, "cannot be decompressed"),
        ("b.jsonl.gz", gzip.compress(b"", mtime=0), 0, 1, ""),
        ("b.jsonl.zst", b"", 0, 1, ""),
        ("b.jsonl.zst", b"no zstd", 3, 0, "cannot be decompressed"),
        ("b.parquet.gz", PACKED, 2, 0, "unpack it"),
    ],
)
def test_read_or_one_line(embed: Embed, tmp_path: Path, name: str, data: bytes, code: int, rows: int, words: str) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_bytes(b'{"id":"a","text":"x"}\n')
    (tmp_path / "corpus" / name).write_bytes(data)
    answer = embed(corpus={"files": [str(tmp_path / "corpus")]})
    assert answer.code == code, answer.errors
    if code:
        assert name in answer.errors and words in answer.errors and len(answer.errors.strip().splitlines()) == 1, answer.errors
        assert code == 2 or embed(corpus={"files": [str(tmp_path / "corpus")], "on_bad_file": "quarantine", "on_schema_drift": "null"}).code in (0, 3)
    else:
        assert answer["rows_out"] == rows


def test_the_same_receipt_twice_in_a_commit(embed: Embed, command: Command, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_bytes(LINE)
    corpus = {"files": [str(tmp_path / "corpus")]}
    output = embed(corpus=corpus).output
    table = CommitLog(open_folder(str(output))).table()
    (commit,) = (output / "_embermill/commits").glob("*.pq")
    for path in (commit, *(output / "_embermill/manifests").iterdir()):
        path.unlink()
    commit.write_bytes(sealed_parquet(pa.concat_tables([table, table]).cast(SCHEMA)))
    for code, answer in ((0, command("status", str(output))), (33, command("verify", str(output))), (0, embed(corpus=corpus))):
        assert answer.code == code and answer["rows_out"] == 1, answer.errors
