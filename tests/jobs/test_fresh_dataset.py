"""What a fresh dataset looks like to tools that know nothing of embermill: rows and nothing else, each of version 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml

from embermill.jobs.dataset.metadata.card import CARD, DERIVED, write_card
from embermill.jobs.plan.dataset_format import NEEDED
from embermill.jobs.plan.files import read_plan
from embermill.jobs.shard.file_runs import file_numbers
from embermill.jobs.shard.footer import Footer
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]
Command = Callable[..., Answer]


@pytest.fixture
def dataset(embed: Embed, tmp_path: Path) -> Path:
    """31 rows in shards and one in the quarantine, of four files in several partitions."""
    (tmp_path / "corpus").mkdir()
    for name in "abcd":
        ids = [f"{name}{row}" if row or name != "c" else None for row in range(8)]
        pq.write_table(pa.table({"id": ids, "text": [f"text {row} of {name}" for row in range(8)]}), tmp_path / f"corpus/{name}.parquet")
    answer = embed(corpus={"partition_text_bytes": 200, "max_quarantined": 0.5}, output_section={"shard_bytes": 600})
    assert answer.code == 0 and answer["rows_quarantined"] == 1, answer.errors
    return answer.output


def test_every_glob_gives_exactly_the_rows(dataset: Path) -> None:
    expected = sorted(pq.read_table(dataset / "data").column("id").to_pylist())
    assert len(expected) == 31
    assert sorted(row[0] for row in duckdb.execute(f"SELECT id FROM '{dataset}/**/*.parquet'").fetchall()) == expected
    assert sorted(pl.scan_parquet(f"{dataset}/**/*.parquet").collect()["id"].to_list()) == expected
    assert sorted(ds.dataset(sorted(map(str, dataset.rglob("*.parquet")))).to_table().column("id").to_pylist()) == expected
    others = [path for path in dataset.rglob("*") if path.is_file() and path.read_bytes()[:4] == b"PAR1" and path.suffix != ".parquet"]
    assert {path.suffix for path in others} == {".pq"} and {path.parts[len(dataset.parts)] for path in others} == {"quarantine", "_embermill"}


def test_the_card_tells_load_dataset_which_files_the_rows_are_in(dataset: Path) -> None:
    card = (dataset / CARD).read_text()
    _, front, text = card.split("---\n", 2)
    (config,) = yaml.safe_load(front)["configs"]
    (split,) = config["data_files"]
    assert (config["config_name"], split["split"]) == ("default", "train")
    assert pq.read_table([*dataset.glob(split["path"])]).num_rows == 31
    assert "31 rows in version 1" in text and "`version` | int64" in text and "**" not in text and str(dataset.parent) not in text


def test_a_card_that_somebody_wrote_stays(dataset: Path, embed: Embed, command: Command) -> None:
    derived = (dataset / CARD).read_text()
    for standing, expected in ((None, derived), (derived + "more", derived), ("mine\n", "mine\n")):
        (dataset / CARD).unlink(missing_ok=True)
        if standing is not None:
            (dataset / CARD).write_text(standing)
        write_card(open_folder(str(dataset)))
        assert (dataset / CARD).read_text() == expected
    assert DERIVED in derived and command("verify", str(dataset)).code == 0


def test_every_row_is_of_version_1_and_its_file_is_known(dataset: Path) -> None:
    plan = read_plan(open_folder(str(dataset)))
    assert plan is not None and plan.tells_versions
    for path in sorted((dataset / "data").iterdir()):
        parquet = pq.ParquetFile(path)
        assert set(parquet.read(["version"]).column(0).to_pylist()) == {1} and parquet.schema_arrow.field("version").type == pa.int64()
        footer = Footer.from_metadata(parquet.metadata.metadata)
        assert footer is not None
        numbers = {str(entry["path"]): number for number, entry in enumerate(plan.listing)}
        files = ["abcd"[number] for number in file_numbers(footer.files, plan.partitions[footer.partition], footer.rows_out, numbers).tolist()]
        assert files == [each[0] for each in parquet.read(["id"]).column(0).to_pylist()]


def test_its_format_says_which_embermill_reads_it(dataset: Path) -> None:
    """An embermill that knows format 1 alone prints this after "expected format_version 1, got", and exits 2."""
    assert json.loads((dataset / "_embermill/format.json").read_text())["format_version"] == f"2 (embermill {NEEDED} or newer)"


def test_a_kept_column_of_that_name_is_refused_with_the_renaming(embed: Embed, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"id": ["a"], "text": ["t"], "version": ["v"]}), tmp_path / "corpus/a.parquet")
    answer = embed(corpus={"keep_columns": ["version"]})
    assert answer.code == 2 and "'version' is taken in the dataset" in answer.errors and "keep_columns: [{version: source_version}]" in answer.errors
    assert embed(corpus={"keep_columns": [{"version": "source_version"}]}).code == 0
