"""What a refused load advises, done: it helps."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.index import Standing
from tests.jobs.command_line import command, open_inline_pool, run
from tests.jobs.histories.world import World
from tests.jobs.index.loads import address, expected, load_into, require_equal, save
from tests.jobs.index.sqlite_target import SqliteTarget, contents, opened
from tests.jobs.index.test_refusals import patch_cursor
from tests.jobs.word_engines import WordEngine


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return save(World(4), tmp_path / "ds")


@pytest.fixture
def loaded(dataset: Path, tmp_path: Path) -> Path:
    path = tmp_path / "index.db"
    load_into(dataset, path)
    return path


def test_rows_of_somebody_else(loaded: Path, dataset: Path, tmp_path: Path) -> None:
    with opened(loaded) as database:
        database.execute("INSERT INTO rows SELECT 'theirs', vector, columns FROM rows LIMIT 1")
    with pytest.raises(DataError, match="Load into a new collection, or remove what does not belong there"):
        load_into(dataset, loaded)
    load_into(dataset, tmp_path / "new.db")
    require_equal(dataset, tmp_path / "new.db")
    with opened(loaded) as database:
        database.execute("DELETE FROM rows WHERE id = 'theirs'")
    load_into(dataset, loaded)
    require_equal(dataset, loaded)


@pytest.mark.parametrize("how", ["drop", "adopt"])
def test_a_damaged_cursor(loaded: Path, dataset: Path, how: str) -> None:
    patch_cursor(loaded, '"fingerprint":', '"fingerprint"')
    with pytest.raises(UsageError, match="drop the collection and load it again, or load it with --adopt"):
        load_into(dataset, loaded)
    if how == "drop":
        loaded.unlink()
    load_into(dataset, loaded, adopt=how == "adopt")
    require_equal(dataset, loaded)


def test_another_collection(loaded: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    patch_cursor(loaded, '"model.weights":"abc"', '"model.weights":"abd"')
    with pytest.raises(UsageError, match=r"holds vectors of another model: .*load into a new table, collection or file, compare the two"):
        load_into(dataset, loaded)
    with monkeypatch.context() as patched:
        patched.setattr(SqliteTarget, "describe", lambda target: Standing(0, 768))
        with pytest.raises(UsageError, match="name a new one, which is created as it must be"):
            load_into(dataset, tmp_path / "wide.db")
    load_into(dataset, tmp_path / "new.db")
    require_equal(dataset, tmp_path / "new.db")


def test_another_metric(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new.db"
    monkeypatch.setattr(SqliteTarget, "describe", lambda target: Standing(0, 4, "l2"))
    with pytest.raises(UsageError, match=r"give \?metric=l2 in its address"):
        load_into(dataset, path)
    answer = command("load", str(dataset), f"{address(path)}&metric=l2")
    assert answer.code == 0, answer.errors
    assert contents(str(path)) == expected(dataset)


@pytest.mark.parametrize("how", ["new", "adopt"])
def test_of_another_dataset(loaded: Path, dataset: Path, tmp_path: Path, how: str) -> None:
    patch_cursor(loaded, '"dataset":"', '"dataset":"0')
    with pytest.raises(UsageError, match="name a new one, or take it over with --adopt"):
        load_into(dataset, loaded)
    path = tmp_path / "new.db" if how == "new" else loaded
    load_into(dataset, path, adopt=how == "adopt")
    require_equal(dataset, path)


def test_back_to_an_earlier_version(tmp_path: Path) -> None:
    world = World(4)
    world.sync()
    dataset, path = save(world, tmp_path / "ds"), tmp_path / "index.db"
    load_into(dataset, path)
    with pytest.raises(UsageError, match=r"`embermill rollback .* --to 1` makes a new version with those rows"):
        load_into(dataset, path, to=1)
    answer = command("rollback", str(dataset), "--to", "1")
    assert answer.code == 0, answer.errors
    load_into(dataset, path)
    assert contents(str(path)) == expected(dataset) == expected(dataset, 1)


@pytest.mark.parametrize("how", ["new", "delete"])
def test_rows_that_were_erased(loaded: Path, dataset: Path, tmp_path: Path, how: str) -> None:
    gone = sorted(contents(str(loaded)))[0]
    (tmp_path / "ids").write_text(f"{gone}\n")
    assert command("erase", str(dataset), "--ids", str(tmp_path / "ids"))["rows"] == 1
    refused = rf"index.db.*holds version 1 of {dataset}, and rows were erased from that dataset in version 2.*Load into a new table or collection"
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=refused):
            load_into(dataset, loaded, dry_run=dry_run)
    assert gone in contents(str(loaded)), "as the message says"
    if how == "delete":
        loaded.unlink()
    path = tmp_path / "new.db" if how == "new" else loaded
    load_into(dataset, path)
    require_equal(dataset, path)
    assert gone not in contents(str(path))


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in ("run", "sync.stages"):
        monkeypatch.setattr(f"embermill.jobs.{module}.open_pool", open_inline_pool)
    (tmp_path / "corpus").mkdir()
    return tmp_path


def made(job: Path, output: str, kept: str) -> Path:
    """A dataset of two rows with one kept column."""
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["one", "two"], kept: ["x", "y"]}), job / "corpus/a.parquet")
    answer = run(job, output=output, corpus={"id_column": "id", "keep_columns": [kept]})
    assert answer.code == 0, answer.errors
    return answer.output


@pytest.mark.parametrize("how", ["new", "delete"])
def test_of_another_dataset_with_other_columns(job: Path, how: str) -> None:
    first, other, index = made(job, "first", "lang"), made(job, "other", "title"), job / "index.db"
    load_into(first, index)
    said = rf"loaded from another dataset \({first}\), whose rows have another form than those of {other}: columns: id, embedding, lang -> id, embedding, title"
    for adopt in (False, True):
        with pytest.raises(UsageError, match=f"{said}: load into a new table, collection or file, or delete this one first"):
            load_into(other, index, adopt=adopt)
    if how == "delete":
        index.unlink()
    path = job / "new.db" if how == "new" else index
    load_into(other, path)
    assert {json.loads(columns)["title"] for _, columns in contents(str(path)).values()} == {"x", "y"}


def test_of_another_dataset_of_another_model(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, index = made(job, "first", "lang"), job / "index.db"
    load_into(first, index)
    monkeypatch.setattr(WordEngine, "fingerprint", lambda engine: {"model.weights": "others"})
    other = made(job, "other", "lang")
    said = rf"loaded from another dataset \({first}\), with vectors of another model: fingerprint: .*: load into a new table, collection or file, compare"
    with pytest.raises(UsageError, match=said):
        load_into(other, index, adopt=True)
    load_into(other, job / "new.db")
    assert contents(str(job / "new.db")).keys() == {"a", "b"}


def test_ids_that_several_rows_have(job: Path) -> None:
    file = job / "corpus/a.parquet"
    pq.write_table(pa.table({"id": ["a", "b", "b"], "text": ["one", "two", "three"]}), file)
    answer = run(job, corpus={"id_column": "id"})
    assert answer.code == 0, answer.errors
    refused = command("load", str(answer.output), address(job / "index.db"))
    assert refused.code == 3 and "make them unique in the corpus and run `embermill sync`" in refused.errors
    assert "'b'" in command("verify", str(answer.output)).errors
    pq.write_table(pa.table({"id": ["a", "b", "c"], "text": ["one", "two", "three"]}), file)
    assert command("sync", str(job / "out.yaml")).code == 0
    loaded = command("load", str(answer.output), address(job / "index.db"))
    assert loaded.code == 0 and contents(str(job / "index.db")).keys() == {"a", "b", "c"}, loaded.errors


def test_another_column_of_vectors(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["one", "two"]}), job / "corpus/a.parquet")
    columns = [{"column": "codes", "dtype": "ubinary"}, {"column": "embedding", "dtype": "float32"}]
    answer = run(job, corpus={"id_column": "id"}, output_section={"vectors": columns})
    assert answer.code == 0, answer.errors
    monkeypatch.setattr(SqliteTarget, "dtypes", ("float32",))
    dataset = str(answer.output)
    for words in (["load", dataset, address(job / "index.db")], ["export", dataset, "--format", "pinecone", "--out", str(job / "x")]):
        refused = command(*words, "--vector", "codes")
        assert refused.code == 2 and "choose another with --vector" in refused.errors, refused.errors
        assert command(*words, "--vector", "embedding").code == 0
