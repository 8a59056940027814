"""What must be true of a dataset after any history."""

from __future__ import annotations

from typing import Any

from embermill.jobs.dataset.metadata.keys import all_live_keys
from embermill.jobs.dataset.metadata.versions import BASE, UPSERTS, read_version
from embermill.jobs.dataset.views.feed import DELETE, read_feed
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.errors import UsageError
from tests.jobs.histories.world import Rows, World, rows_of

Place = tuple[int, int, bytes, int]  # shard, row, text hash, version


def check(world: World) -> None:
    """AssertionError, with the history."""
    try:
        check_versions(world)
        check_feeds(world)
        check_keys(world)
    except Exception as error:
        raise AssertionError(f"after {'; '.join(world.history)}: {type(error).__name__}: {error}") from error


def check_versions(world: World) -> None:
    """Every version gives the rows that it had, or says that it was collected."""
    for number, rows in world.snapshots.items():
        if number in world.retired:
            try:
                read_version(world.folder, number)
            except UsageError:
                continue
            raise AssertionError(f"version {number} was collected and can be read")
        version = read_version(world.folder, number)
        assert rows_of(LiveRows(world.folder, world.plan, version)) == rows, f"version {number}"
        assert version.totals["rows"] == len(rows), f"version {number} says {version.totals}"
    assert read_version(world.folder).number == max(world.snapshots) and world.snapshots[max(world.snapshots)] == world.rows


def check_feeds(world: World) -> None:
    """Whoever stands at any version, collected or not, and applies the feed once or twice, has the rows of each later one that can be read."""
    readable = [number for number in world.snapshots if number not in world.retired]
    targets = {max(readable), world.rng.choice(readable)}
    for to in targets:
        for since in [0, *(number for number in world.snapshots if number <= to)]:
            copy, feed = dict(world.snapshots.get(since, {})), read(world, since, to)
            for _ in range(2):
                apply(copy, feed)
                assert copy == world.snapshots[to], f"from {since} to {to}"
            assert all(row["version"] > since for row in feed), f"the feed from {since} tells of older versions"


def read(world: World, since: int, to: int) -> list[dict[str, Any]]:
    batches = read_feed(world.folder, world.plan, since, to).batches()
    return [row for batch in batches for row in batch.select(["id", "num_tokens", "version", "change"]).to_pylist()]


def apply(copy: Rows, feed: list[dict[str, Any]]) -> None:
    for row in feed:
        if row["change"] == DELETE:
            copy.pop(row["id"], None)
        else:
            copy[row["id"]] = row["num_tokens"]


def check_keys(world: World) -> None:
    """Keys say where each live row is, with its hash; there are none before the first sync."""
    version = read_version(world.folder)
    if version.number == 1 or not [*all_live_keys(world.folder, version, world.plan.rows.id_type)]:
        return
    expected: dict[str, Place] = {}
    found: dict[str, Place] = {}
    live = LiveRows(world.folder, world.plan, version)
    for file in version.of_kind(BASE, UPSERTS):
        mask = next(each for each in live.files() if each.file == file)
        places = [row for row in range(file.rows) if mask.live is None or mask.live[row]]
        rows = [row for batch in live.read(mask, ["id", "text_hash", "version"]) for row in batch.to_pylist()]
        expected |= {row["id"]: (file.number, place, bytes.fromhex(row["text_hash"]), row["version"]) for place, row in zip(places, rows, strict=True)}
    for _, table in all_live_keys(world.folder, version, world.plan.rows.id_type):
        found |= {row["id"]: (row["shard"], row["row"], row["text_hash"], row["version"]) for row in table.to_pylist()}
    assert found == expected, f"keys {found}, rows {expected}"
