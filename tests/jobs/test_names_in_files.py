"""Names that are read from a dataset's files lead nowhere else: not by `..`, not by an absolute path, not by a link that was planted there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.bookkeeping.seal import KEY, sealed_json, sealed_parquet
from embermill.jobs.dataset.metadata.receipt_table import SCHEMA
from embermill.jobs.errors import DataError
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import Answer

Run = Callable[..., Answer]
OURS = "_embermill"
BAD = ("../secret.parquet", "data/../../secret.parquet", "/etc/hostname", "data/./x.parquet", "", "a\0b", "data//x")


@pytest.fixture
def dataset(embed: Run, tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["one", "two"]}), tmp_path / "corpus/a.parquet")
    (tmp_path / "secret.parquet").write_bytes(b"of somebody else")
    return embed().output


def change_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    document.pop(KEY)
    change(document)
    path.write_bytes(sealed_json(document))


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("uri", ["local", "s3"])
def test_no_folder_follows_them(uri: str, name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    folder = open_folder(str(tmp_path / "out") if uri == "local" else request.getfixturevalue("s3_folder_url"))
    if not name:
        return  # the dataset itself, which may be listed
    for use in (folder.read, folder.open, folder.exists, folder.remove, lambda name: folder.create(name, b""), lambda name: folder.replace(name, b"")):
        with pytest.raises(DataError, match="a name that leads out of the dataset"):
            use(name)


@pytest.mark.parametrize("name", BAD)
def test_in_a_plan(dataset: Path, command: Run, name: str) -> None:
    change_json(dataset / OURS / "plan/000001/root.json", lambda root: root["segments"].update(file=name))
    for which in ("status", "verify"):
        answer = command(which, str(dataset))
        assert answer.code == 3 and "names a file that is none of a plan's" in answer.errors and "root.json" in answer.errors


@pytest.mark.parametrize("name", BAD)
def test_in_a_manifest(dataset: Path, command: Run, name: str) -> None:
    change_json(dataset / OURS / "manifests/000001.json", lambda root: root["shards"].update(file=name))
    for which in ("status", "verify"):
        answer = command(which, str(dataset))
        assert answer.code == 3 and "names a file that is none of a manifest's" in answer.errors


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("column", ["shard", "quarantine"])
def test_in_a_receipt(dataset: Path, command: Run, column: str, name: str) -> None:
    shutil.rmtree(dataset / OURS / "manifests")
    path = dataset / OURS / "commits/000000001.pq"
    table = pq.read_table(path).select(SCHEMA.names)
    place = table.schema.get_field_index(column)
    path.write_bytes(sealed_parquet(table.set_column(place, table.schema.field(place), pa.array([name] * table.num_rows, pa.string()))))
    for which in ("status", "verify", "search"):
        answer = command(which, str(dataset), *(["one"] if which == "search" else []))
        assert answer.code == 3 and "it names a file that is none of a dataset's" in answer.errors and "commits/000000001.pq" in answer.errors


@pytest.mark.parametrize("place", ["shard", "data", "plan", "commits", "manifests", "format.json"])
def test_links_that_were_planted(dataset: Path, embed: Run, command: Run, tmp_path: Path, place: str) -> None:
    path = next((dataset / "data").iterdir()) if place == "shard" else dataset / ("data" if place == "data" else f"{OURS}/{place}")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    answer = command("verify", str(dataset))
    assert answer.code == 3 and "is a link that leads out of the dataset" in answer.errors, answer.errors


def test_nothing_is_written_through_a_link(embed: Run, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"id": ["a"], "text": ["one"]}), tmp_path / "corpus/a.parquet")
    for planted in (OURS, "data"):
        target = tmp_path / f"elsewhere-{planted}"
        target.mkdir()
        (tmp_path / planted).mkdir()
        (tmp_path / planted / planted).symlink_to(target)
        answer = embed(output=planted)
        assert answer.code == 3 and "is a link that leads out of the dataset" in answer.errors and list(target.iterdir()) == [], answer.errors


def test_the_datasets_folder_itself_may_be_a_link_and_so_may_a_corpus(embed: Run, command: Run, tmp_path: Path) -> None:
    (tmp_path / "disk/corpus").mkdir(parents=True)
    (tmp_path / "disk/out").mkdir()
    pq.write_table(pa.table({"id": ["a"], "text": ["one"]}), tmp_path / "disk/corpus/real.parquet")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.parquet").symlink_to(tmp_path / "disk/corpus/real.parquet")
    (tmp_path / "out").symlink_to(tmp_path / "disk/out")
    assert embed().code == 0 and command("verify", str(tmp_path / "out")).code == 0
