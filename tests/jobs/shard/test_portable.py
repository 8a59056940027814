"""Portable shards: plain to every reader, and to our own the very rows of compact ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import embermill
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import Damaged, open_parquet, read_shard
from embermill.jobs.shard.footer import SCHEMA_KEY
from embermill.jobs.shard.writer import open_writer
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import Answer, command, run
from tests.jobs.sample_dataset import SHARD, make_plan, write_shard
from tests.jobs.worked_on import inline_pools

KEPT = {
    "when": pa.timestamp("us", "Europe/Berlin"), "took": pa.duration("ms"), "tags": pa.list_(pa.string()), "point": pa.list_(pa.float32(), 2),
    "at": pa.timestamp("s"), "small": pa.uint8(), "nested": pa.struct([("a", pa.int16())]),
}  # fmt: skip


def portable(plan: Plan) -> Plan:
    return replace(plan, config=plan.config | {"output.encoding": "portable"}, names_model=True)


def rows_of(plan: Plan) -> pa.Table:
    values = {"when": datetime(2026, 1, 2, tzinfo=UTC), "took": timedelta(seconds=1), "tags": ["a"], "point": [1.0, 2.0], "at": datetime(2026, 1, 2)}
    row = {"id": "é", "embedding": [0.0, 1.0, 0.0, 0.0], "num_tokens": 3, "num_tokens_dropped": 0, "text_hash": "0" * 32, "small": 255, "nested": {"a": 7}}
    empty = dict.fromkeys(KEPT)
    return pa.Table.from_pylist([row | values, row | empty | {"id": "b"}], plan.schema)


def test_every_type_comes_back_as_it_was(tmp_path: Path) -> None:
    plan = make_plan(kept=[(name, name, kind) for name, kind in KEPT.items()])
    tables = []
    for each, name in ((plan, "compact"), (portable(plan), "portable")):
        with open_writer(tmp_path / name, each) as writer:
            writer.write_table(rows_of(each))
        with open_parquet(tmp_path / name) as parquet:
            tables.append(pa.Table.from_batches([*parquet.iter_batches()]))
            assert parquet.read_row_group(0, columns=["point", "embedding"]).equals(tables[-1].select(["point", "embedding"]))
            assert parquet.schema_arrow.equals(tables[-1].schema)
    assert tables[0].equals(tables[1]) and tables[0].schema.equals(tables[1].schema, check_metadata=False)


def test_what_another_reader_sees(tmp_path: Path) -> None:
    plan = portable(make_plan())
    receipt = write_shard(open_folder(str(tmp_path)), plan)
    assert receipt.rows_out == 100 and read_shard(tmp_path / SHARD, plan).rows == 100
    parquet = pq.ParquetFile(tmp_path / SHARD)
    assert b"ARROW:schema" not in parquet.metadata.metadata
    assert parquet.schema_arrow.field("embedding").type == pa.list_(pa.field("element", pa.float32(), nullable=False))
    for number in range(parquet.metadata.num_columns):
        chunk = parquet.metadata.row_group(0).column(number)
        assert {*chunk.encodings} <= {"PLAIN", "RLE", "RLE_DICTIONARY", "PLAIN_DICTIONARY"} and chunk.compression == "SNAPPY", chunk
    assert b"embermill.fingerprint" in parquet.metadata.metadata


def test_a_forged_schema_is_damage(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"]}).replace_schema_metadata({SCHEMA_KEY: "AAAA"})
    pq.write_table(table, tmp_path / "x")
    with pytest.raises(Damaged, match="schema in its footer cannot be read"), open_parquet(tmp_path / "x") as parquet:
        assert parquet.schema_arrow is None


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    write_corpus(tmp_path, "")
    return tmp_path


def write_corpus(folder: Path, edited: str) -> None:
    rows = [{"id": f"d{row}", "text": f"text {row}{edited if row % 5 == 0 else ''}", "took": timedelta(seconds=row)} for row in range(40)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "corpus/a.parquet")


def make(folder: Path, encoding: str, name: str = "run") -> Answer:
    corpus = {"files": [str(folder / "corpus/*.parquet")], "keep_columns": ["took"]}
    with inline_pools():
        answer = run(folder, output=encoding, name=name, corpus=corpus, output_section={"encoding": encoding})
    assert answer.code == 0, answer.errors
    return answer


def test_a_dataset_of_several_versions(job: Path) -> None:
    """Run, sync and compact write the same rows in both encodings, and verify finds them sound."""
    both = []
    for encoding in ("compact", "portable"):
        write_corpus(job, "")
        make(job, encoding)
        write_corpus(job, " edited")
        make(job, encoding, "sync")
        for step in ([], ["compact"]):
            for name in step:
                assert command(name, str(job / encoding)).code == 0
            verified = command("verify", str(job / encoding))
            assert verified.code == 0, verified.errors
            both.append(embermill.open_dataset(str(job / encoding)).read_all())
    assert both[0].equals(both[2]) and both[1].equals(both[3]) and both[0].num_rows == 40
    for path in (job / "portable").rglob("*.parquet"):
        metadata = pq.read_metadata(path).metadata
        assert "deletes" in path.parts or (b"ARROW:schema" not in metadata and metadata[b"embermill.model"].endswith(b"WordEngine")), path


def test_the_encoding_of_a_dataset_stays(job: Path) -> None:
    make(job, "compact")
    answer = run(job, output="compact", corpus={"keep_columns": ["took"]}, output_section={"encoding": "portable"})
    assert answer.code == 2 and "output.encoding: compact -> portable" in answer.errors


def test_duckdb_and_polars_read_both(job: Path) -> None:
    seen = []
    for encoding in ("compact", "portable"):
        output = make(job, encoding).output
        rows = duckdb.execute(f"SELECT id, embedding::FLOAT[8] FROM '{output}/data/*.parquet' ORDER BY id").fetchall()
        frame = pl.read_parquet(f"{output}/data/*.parquet").sort("id")
        assert np.array_equal(np.array([vector for _, vector in rows], np.float32), np.stack(frame["embedding"].to_list()).astype(np.float32))
        seen.append(rows)
    assert seen[0] == seen[1]
