"""--alias moves a name from one table to the next; Qdrant's client, in its local mode, in place of a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embermill.jobs.errors import UsageError
from embermill.jobs.index import lease
from embermill.jobs.index.running import Options, load
from tests.jobs.histories.world import World
from tests.jobs.index.loads import expected, save
from tests.jobs.index.targets.reading import TARGETS, address_of, milvus_client

pytestmark = [pytest.mark.index, pytest.mark.timeout(600)]
HAVE = ("postgresql", "duckdb", "milvus")


@pytest.fixture
def versions(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset of 12 rows, and one of the same after a sync."""
    world = World(4)
    first = save(world, tmp_path / "first")
    world.sync()
    return first, save(world, tmp_path / "second")


def count(name: str, folder: Path, postgres: str, alias: str) -> int:
    """Of rows, under that name, by the target's own client."""
    if name == "postgresql":
        import psycopg

        with psycopg.connect(postgres) as connection:
            found: Any = connection.execute(f"SELECT count(*) FROM {alias}").fetchone()  # type: ignore[call-overload]
            return int(found[0])
    if name == "duckdb":
        import duckdb

        with duckdb.connect(str(folder / "duckdb"), read_only=True) as connection:
            found = connection.execute(f"SELECT count(*) FROM {alias}").fetchone()
            return int(found[0])
    with milvus_client(folder) as client:
        client.load_collection(alias)
        return len(client.query(alias, filter="", limit=100, output_fields=["id"]))


@pytest.mark.parametrize("name", HAVE)
def test_an_alias_moves_to_the_new_table(name: str, versions: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest) -> None:
    postgres = request.getfixturevalue("postgres") if name == "postgresql" else ""
    where = "collection" if name == "milvus" else "table"
    for number, dataset in enumerate(versions):
        done = load(str(dataset), address_of(name, tmp_path, postgres, **{where: f"docs_{number}"}), Options(alias="current_docs"))
        assert done.alias == "current_docs" and count(name, tmp_path, postgres, "current_docs") == done.rows == len(expected(dataset))


@pytest.mark.parametrize("name", HAVE)
def test_a_name_that_is_a_collection_itself_is_refused_before_the_first_write(
    name: str, versions: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    postgres = request.getfixturevalue("postgres") if name == "postgresql" else ""
    where = "collection" if name == "milvus" else "table"
    first, second = (address_of(name, tmp_path, postgres, **{where: table}) for table in ("taken", "more"))
    load(str(versions[0]), first, Options())
    for address, alias in ((first, "taken"), (second, "taken"), (second, "more")):
        with pytest.raises(UsageError, match=f"--alias {alias}: is a table or collection itself"):
            load(str(versions[1]), address, Options(alias=alias))
    assert load(str(versions[1]), second, Options(alias="by_another_name", dry_run=True)).created
    assert count(name, tmp_path, postgres, "taken") == len(expected(versions[0]))


def test_several_workers_that_replace_rows_without_a_key(versions: tuple[Path, Path], tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    from embermill.jobs.index.targets.postgresql import PostgreSQLTarget

    monkeypatch.setattr(PostgreSQLTarget, "unit_rows", 1)
    address = address_of("postgresql", tmp_path, postgres, table="by_workers")
    rows = load(str(versions[0]), address, Options(workers=3)).rows
    with psycopg.connect(postgres) as connection:
        connection.execute("DELETE FROM embermill_cursor")
        connection.execute("ALTER TABLE by_workers DROP CONSTRAINT by_workers_pkey")
    assert load(str(versions[0]), address, Options(workers=3, adopt=True)).upserted == rows == count("postgresql", tmp_path, postgres, "by_workers")


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in HAVE])
def test_targets_without_aliases_refuse_it(name: str, versions: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--alias current: {name} has no aliases"):
        load(str(versions[0]), address_of(name, tmp_path), Options(alias="current"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


@pytest.mark.filterwarnings("ignore")
def test_the_class_for_qdrant_servers_on_the_clients_local_mode(versions: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from qdrant_client import QdrantClient

    from embermill.jobs.index.targets.qdrant import CURSOR, QdrantTarget

    monkeypatch.setattr(lease, "SETTLE_S", 0.0)
    place = str(tmp_path / "local")
    monkeypatch.setattr(QdrantTarget, "connect", staticmethod(lambda address: QdrantClient(path=place)))
    for dataset in versions:
        done = load(str(dataset), "qdrant://localhost:6333?collection=docs", Options(alias="current", probe=True))
        assert done.checked is not None and done.checked.recall == 1.0
        client = QdrantClient(path=place)
        points, _ = client.scroll("docs", limit=100, with_vectors=True, with_payload=True)
        assert CURSOR in (client.get_collection("docs").config.metadata or {}) and [alias.alias_name for alias in client.get_aliases().aliases] == ["current"]
        client.close()
        wanted = expected(dataset)
        assert {(point.payload or {})["id"] for point in points} == wanted.keys()
        for point in points:
            vector: Any = point.vector
            one = np.frombuffer(wanted[(point.payload or {})["id"]][0], np.float32)
            assert (np.array(vector["embedding"], np.float32) == one).all()
