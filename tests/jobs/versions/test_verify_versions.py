"""`verify` finds what is wrong with later versions, and names the file and what helps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.commands.answers import show_verify
from embermill.jobs.dataset.metadata.versions import KEYS, read_version
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import Answer
from tests.jobs.histories.world import World
from tests.jobs.versions.test_engines import save

Command = Callable[..., Answer]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    world = World(1)
    while len(world.snapshots) < 4:
        world.sync()
    return save(world, tmp_path / "ds")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["upserts", "deletes", "keys", "versions"])
@pytest.mark.parametrize("how", [flip, Path.unlink], ids=["flipped", "gone"])
def test_a_damaged_file_is_named_with_what_helps(dataset: Path, command: Command, kind: str, how: Callable[[Path], None]) -> None:
    answer = command("verify", str(dataset))
    assert answer["version"] == 4 and f"every file of version 4, which has {answer['rows']} rows" in show_verify(json.loads(answer.stdout))
    path = sorted(dataset.rglob(f"_embermill/{kind}/*.pq" if kind == "versions" else f"**/{kind}/**/*.p*q*"))[0]
    how(path)
    answer = command("verify", str(dataset))
    assert answer.code == 3 and path.relative_to(dataset).as_posix() in answer.errors, answer.errors
    assert ("`embermill repair`" if kind in ("keys", "versions") else "Versions that do not need it can still be read") in answer.errors, answer.errors
    if kind in ("keys", "versions"):
        assert command("repair", str(dataset)).code == 0
        assert command("verify", str(dataset)).code == 0


def without(table: pa.Table) -> pa.Table:
    return table.drop_columns(["num_tokens"])


def retyped(table: pa.Table) -> pa.Table:
    place = table.schema.get_field_index("num_tokens")
    return table.set_column(place, "num_tokens", pa.array(["many"] * table.num_rows))


@pytest.mark.parametrize("change", [without, retyped])
def test_a_column_that_is_gone_or_of_another_type_is_damage(dataset: Path, command: Command, tmp_path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    shard = min((dataset / "data").rglob("*.parquet"))
    pq.write_table(change(pq.read_table(shard)), shard)
    commands = {"rollback": ["--to", "1"], "compact": [], "changes": ["--since", "0", "--net", "--out", str(tmp_path / "out")], "verify": []}
    for name, options in commands.items():
        answer = command(name, str(dataset), *options)
        assert answer.code == 3 and shard.name in answer.errors, f"{name}: {answer.code}: {answer.errors}"


def test_lost_keys_are_repaired_as_a_version_and_stay_right(dataset: Path, command: Command) -> None:
    folder = open_folder(str(dataset))
    for file in read_version(folder).of_kind(KEYS):
        (dataset / file.name).unlink()
    assert command("verify", str(dataset)).code == 3
    answer = command("repair", str(dataset))
    assert answer.code == 0, answer.errors
    version = read_version(folder)
    assert version.cause == "repair" and set(answer["repaired"]) >= {file.name for file in version.of_kind(KEYS)}
    answer = command("verify", str(dataset))
    assert (answer.code, answer["version"]) == (0, version.number), answer.errors
    assert command("repair", str(dataset))["repaired"] == []


def test_status_and_search_know_the_newest_version(dataset: Path, command: Command) -> None:
    version = read_version(open_folder(str(dataset)))
    status = command("status", str(dataset))
    assert (status["version"], status["rows"], status["versions"]) == (4, version.totals["rows"], 4) and status["missing"] == []
    assert status["version_age_s"] >= 0 and isinstance(status["compact_advised"], bool)
