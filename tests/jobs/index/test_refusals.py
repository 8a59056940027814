"""What a load refuses before its first write, and what two loads at once do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.errors import AnotherRun, DataError, UsageError
from embermill.jobs.index import Address, Standing
from embermill.jobs.index.opening import parse_address
from embermill.jobs.index.running import Options, load
from tests.jobs.command_line import command
from tests.jobs.histories.world import World
from tests.jobs.index.loads import CLASS, address, expected, load_into, save
from tests.jobs.index.sqlite_target import SqliteTarget, contents, opened


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return save(World(4), tmp_path / "ds")


@pytest.fixture
def loaded(dataset: Path, tmp_path: Path) -> Path:
    path = tmp_path / "index.db"
    load_into(dataset, path)
    return path


def refuse(dataset: Path, path: Path, message: str, **options: Any) -> None:
    """Exit 2, saying so, with nothing written."""
    before, SqliteTarget.operations = path.read_bytes() if path.exists() else b"", 0
    with pytest.raises(UsageError, match=message):
        load(str(dataset), address(path), Options(**options))
    assert SqliteTarget.operations == 0 and (path.read_bytes() if path.exists() else b"") == before


def patch_cursor(path: Path, old: str, new: str) -> None:
    with opened(path) as database:
        (text,) = database.execute("SELECT text FROM cursor").fetchone()
        assert old in text
        database.execute("UPDATE cursor SET text = ?", (text.replace(old, new),))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"model.weights":"abc"', '"model.weights":"abd"', "another model: fingerprint: model.weights: abd -> abc"),
        ('"dimensions":4', '"dimensions":8', "holds .*/ds in another form: dimensions: 8 -> 4"),
        ('"metric":"cosine"', '"metric":"l2"', "holds .*/ds in another form: metric: l2 -> cosine: load as before"),
        ('"column":"embedding"', '"column":"other"', "holds .*/ds in another form: column: other -> embedding"),
        ('"dataset":"', '"dataset":"0', "loaded from another dataset, which was at .*/ds before this one was made there: name a new one"),
        ('"cursor_format":1', '"cursor_format":2', "expected a cursor of format 1, got 2"),
        ('"fingerprint":', '"fingerprint"', "its cursor is damaged"),
        ('"version":1', '"version":7', "has version 7 of .* already"),
    ],
)
def test_a_cursor_that_is_of_something_else(loaded: Path, dataset: Path, old: str, new: str, message: str) -> None:
    patch_cursor(loaded, old, new)
    refuse(dataset, loaded, message, **({"to": 1} if "version" in new else {}))


def test_rows_and_no_cursor(loaded: Path, dataset: Path) -> None:
    with opened(loaded) as database:
        database.execute("DROP TABLE cursor")
    refuse(dataset, loaded, "holds 12 rows and no cursor.*--adopt")
    assert load_into(dataset, loaded, adopt=True).upserted == 12
    assert contents(str(loaded)) == expected(dataset)


@pytest.mark.parametrize(("standing", "message"), [
    (Standing(0, 768), "has vectors of 768 dimensions, those of .* have 4"), (Standing(0, 4, "l2"), r"compares by l2, expected cosine: give \?metric=l2"),
])  # fmt: skip
def test_what_the_target_says_of_itself(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standing: Standing, message: str) -> None:
    monkeypatch.setattr(SqliteTarget, "describe", lambda target: standing)
    refuse(dataset, tmp_path / "new.db", message)


def test_ids_over_a_limit_are_named(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from embermill.jobs.index import recorded
    from embermill.jobs.index.limits import TARGETS, Limit, Limits, Source

    assert recorded.TARGETS
    tiny = Limits("tiny", "Tiny", (Limit("id_bytes", 2, Source("here", "2026-11-28", True)),))
    monkeypatch.setitem(TARGETS, "tiny", tiny)
    monkeypatch.setattr(SqliteTarget, "limits", "tiny")
    ids = sorted(expected(dataset))
    with pytest.raises(UsageError) as refused:
        load_into(dataset, tmp_path / "new.db")
    assert str(refused.value).count("bytes)") == 10 and sum(f"'{each}'" in str(refused.value) for each in ids) == 10 and "and 2 more" in str(refused.value)


@pytest.mark.parametrize(("options", "message"), [
    ({"vector": "other"}, "--vector other: there is no such column of vectors"),
    ({"renamed": {"nothing": "x"}}, "--map nothing=x: there is no column 'nothing'"),
    ({"renamed": {"lang": "id"}}, "--map: id and lang would both be called 'id'"), ({"alias": "docs"}, "python has no aliases"),
    ({"to": 9}, "there is no version 9"),
])  # fmt: skip
def test_calls_that_cannot_be_meant(dataset: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    refuse(dataset, tmp_path / "new.db", message, **options)


@pytest.mark.parametrize(("target", "message"), [
    ("fais:x", "unknown target `fais:x`: did you mean `faiss:`"), ("nothing", "unknown target `nothing`: expected one of"), ("faiss:", "it names no place"),
    (f"{CLASS}?path=x&metric=hamming", "unknown metric 'hamming'"), ("python:tests.jobs.index.loads:address", "expected a class with the methods"),
    ("python:tests.jobs.histories.world:World", "got one without describe"), ("python:no_such_module:X", "no module no_such_module"),
])  # fmt: skip
def test_targets_that_are_none(dataset: Path, target: str, message: str) -> None:
    answer = command("load", str(dataset), target)
    assert answer.code == 2 and message in answer.errors


def test_secrets_are_not_shown() -> None:
    shown = parse_address("postgresql://anna:hush@db.example:5432/search?table=docs&sslpassword=hush").shown
    assert "hush" not in shown and "anna" not in shown and shown == "postgresql://db.example:5432/search?table=docs&sslpassword=…"


def test_the_second_of_two_loaders_exits_4_before_it_writes(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    first = SqliteTarget(Address("", "", "python", "", {"path": str(path)}))
    first.lock()
    SqliteTarget.operations = 0
    with pytest.raises(AnotherRun):
        load_into(dataset, path)
    assert command("load", str(dataset), address(path)).code == 4 and SqliteTarget.operations == 0
    first.close()
    load_into(dataset, path)


def test_rows_that_something_else_wrote_or_removed_are_found(loaded: Path, dataset: Path) -> None:
    with opened(loaded) as database:
        database.execute("UPDATE rows SET vector = zeroblob(16) WHERE id = (SELECT min(id) FROM rows)")
    with pytest.raises(DataError, match="1 vector of 12 sampled ones differs from"):
        load_into(dataset, loaded)
    with opened(loaded) as database:
        database.execute("DELETE FROM rows WHERE id = (SELECT min(id) FROM rows)")
    with pytest.raises(DataError, match="holds 11 rows, expected 12"):
        load_into(dataset, loaded)


def test_a_dry_run_writes_nothing_and_says_what_a_load_does(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    foreseen = load_into(dataset, path, dry_run=True)
    assert not contents_of(path)
    done = load_into(dataset, path)
    assert (foreseen.upserted, foreseen.deleted, foreseen.version) == (done.upserted, done.deleted, done.version) and foreseen.checked is None


def contents_of(path: Path) -> object:
    with opened(path) as database:
        return database.execute("SELECT * FROM sqlite_master").fetchall()


def test_columns_get_other_names(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    load_into(dataset, path, renamed={"lang": "language"})
    assert {columns for _, columns in contents(str(path)).values()} <= {columns.replace("lang", "language") for _, columns in expected(dataset).values()}
    refuse(dataset, path, "holds .*/ds in another form: columns: id, embedding, lang as language -> id, embedding, lang: ")


def test_follow_loads_each_new_version_until_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, path = World(4), tmp_path / "index.db"
    dataset = save(world, tmp_path / "ds")

    def sleep(seconds: float) -> None:
        if len(world.snapshots) == 3:
            raise KeyboardInterrupt
        world.sync()
        save(world, dataset)

    monkeypatch.setattr("embermill.jobs.index.running.time.sleep", sleep)
    done = load_into(dataset, path, follow=True)
    assert (done.before, done.version) == (0, max(world.snapshots)) and contents(str(path)) == expected(dataset)


def test_the_command_says_it_in_one_line_and_in_json(dataset: Path, tmp_path: Path) -> None:
    answer = command("load", str(dataset), address(tmp_path / "index.db"), "--probe", "--map", "lang=language")
    assert answer.code == 0 and answer["checked"] == {"rows": 12, "sampled": 12, "recall": 1.0} and answer["upserted"] == 12
    from embermill.jobs.commands.index import show_load

    told = show_load(json.loads(answer.stdout))
    assert "(new) is at version 1: 12 rows, 12 written, 0 deleted" in told and "counts equal, 12 sampled vectors equal, recall@10 1.000" in told
