"""What is in each real index is told by the index itself: one that holds something else is refused before the first write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.errors import UsageError
from embermill.jobs.index.limits import limits_of
from embermill.jobs.index.opening import TARGETS as ALL
from embermill.jobs.index.opening import parse_address, target_class
from embermill.jobs.index.running import Options, load
from embermill.jobs.plan.files import write_plan
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import open_folder
from tests.jobs.index.targets.reading import TARGETS, Rows, address_of, milvus_client, read
from tests.jobs.sample_dataset import embed, make_batch, make_plan

pytestmark = [pytest.mark.index, pytest.mark.timeout(600)]
ROWS = 20


def make(folder: Path, dim: int, weights: str | None = "abc") -> Path:
    dataset, plan = open_folder(str(folder)), make_plan(1, rows=ROWS, rows_per_shard=ROWS, dim=dim, fingerprint={"model.weights": weights} if weights else None)
    write_plan(dataset, plan)
    log = CommitLog(dataset)
    with ShardWriter(dataset, plan, plan.partitions[0], 0) as writer:
        batch = make_batch(0, ROWS)
        writer.write(batch, embed(batch, dim))
    log.append([writer.finish(True, {})])
    publish_manifest(dataset, plan, log)
    return folder


def forget_postgresql(folder: Path, postgres: str) -> None:
    import psycopg

    with psycopg.connect(postgres) as connection:
        connection.execute("DELETE FROM embermill_cursor")


def forget_duckdb(folder: Path, postgres: str) -> None:
    import duckdb

    with duckdb.connect(str(folder / "duckdb")) as connection:
        connection.execute("DELETE FROM embermill_cursor")


def forget_lancedb(folder: Path, postgres: str) -> None:
    import lancedb

    lancedb.connect(str(folder / "lancedb")).open_table("docs").to_lance().delete_config_keys(["embermill.cursor"])


def forget_milvus(folder: Path, postgres: str) -> None:
    with milvus_client(folder) as client:
        client.drop_collection_properties("docs", ["embermill.cursor"])


def forget_chroma(folder: Path, postgres: str) -> None:
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(str(folder / "chroma"), settings=Settings(anonymized_telemetry=False))
    client.get_collection("docs").modify(metadata={"theirs": "yes"})
    client.close()


def forget_file(name: str) -> Callable[[Path, str], None]:
    return lambda folder, postgres: (folder / f"{name}.cursor.json").unlink()


FORGET: dict[str, Callable[[Path, str], None]] = {
    "postgresql": forget_postgresql, "duckdb": forget_duckdb, "lancedb": forget_lancedb, "milvus": forget_milvus, "chroma": forget_chroma,
    **{name: forget_file(name) for name in ("qdrant-edge", "faiss", "usearch")},
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_an_index_that_holds_something_else(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    postgres, folder = request.getfixturevalue("postgres") if name == "postgresql" else "", tmp_path / f"refuse_{name}"
    folder.mkdir()
    plain, wide, other = make(tmp_path / "plain", 8), make(tmp_path / "wide", 16), make(tmp_path / "other", 8, "abd")
    address = address_of(name, folder, postgres)
    assert load(str(plain), address, Options()).rows == ROWS

    def held() -> dict[Any, Any]:
        found: Rows = read(name, folder, postgres, ("lang",))
        return {each: (vector.tolist(), kept) for each, (vector, kept) in found.items()}

    before = held()
    for dataset, where, message in (
        (wide, address, "has vectors of 8 dimensions, those of .* have 16"),
        (other, address, "another model: fingerprint: model.weights: abc -> abd"),
        (plain, address_of(name, folder, postgres, metric="l2"), "compares by |metric: cosine -> l2"),
    ):
        with pytest.raises(UsageError, match=message):
            load(str(dataset), where, Options())
        assert held() == before, message
    FORGET[name](folder, postgres)
    with pytest.raises(UsageError, match=f"holds {ROWS} rows and no cursor.*--adopt"):
        load(str(plain), address, Options())
    assert held() == before
    assert load(str(plain), address, Options(adopt=True)).upserted == ROWS and held() == before


def test_check_and_load_take_the_same_forms_of_vectors() -> None:
    classes = [target_class(parse_address(f"{scheme}://x/y.db")) for scheme in ALL]
    for name in {made.limits for made in classes}:
        assert {dtype for made in classes if made.limits == name for dtype in made.dtypes} == set(limits_of(name).value("dtypes")), name
