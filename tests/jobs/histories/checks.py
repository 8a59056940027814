"""What must be true of a dataset after any history."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import pyarrow.parquet as pq
import pytest

from embermill.jobs.dataset.metadata.keys import all_live_keys
from embermill.jobs.dataset.metadata.versions import BASE, UPSERTS, read_version
from embermill.jobs.dataset.views.feed import DELETE, Feed, read_feed
from embermill.jobs.dataset.views.live import LiveFile, LiveRows
from embermill.jobs.errors import UsageError
from tests.jobs.histories.world import Rows, World, rows_of

Place = tuple[int, int, bytes, int]  # shard, row, text hash, version


def check(world: World) -> None:
    """AssertionError, with the history."""
    try:
        known = {number: KnownRows(world.folder, world.plan, read_version(world.folder, number)) for number in world.snapshots.keys() - world.retired}
        check_versions(world, known)
        check_feeds(world, known)
        check_keys(world)
        check_traces(world)
    except Exception as error:
        raise AssertionError(f"after {'; '.join(world.history)}: {type(error).__name__}: {error}") from error


def check_versions(world: World, known: Mapping[int, LiveRows]) -> None:
    """Every version gives the rows that it had, or says that it was collected."""
    for number in world.retired:
        with pytest.raises(UsageError, match="were collected"):
            read_version(world.folder, number)
    for number, live in known.items():
        rows = world.snapshots[number]
        assert rows_of(live) == rows, f"version {number}"
        assert live.version.totals["rows"] == len(rows), f"version {number} says {live.version.totals}"
    assert read_version(world.folder).number == max(world.snapshots) and world.snapshots[max(world.snapshots)] == world.rows


def check_feeds(world: World, known: Mapping[int, LiveRows]) -> None:
    """Whoever stands at any version, collected or not, and applies the feed once or twice, has the rows of each later one that can be read.

    After an erasure that is told to nobody but who loads everything again.
    """
    for to in {max(known), world.rng.choice([*known])}:
        for since in [0, *(number for number in world.snapshots if number <= to)]:
            try:
                feed = [*rows_in(replace(read_feed(world.folder, world.plan, since, to), live=known[to]))]
            except UsageError:
                assert since and any(since < erasure <= to for erasure in world.erasures), f"from {since} to {to} is refused"
                continue
            assert not since or not any(since < erasure <= to for erasure in world.erasures), f"from {since} to {to} is told across an erasure"
            copy = dict(world.snapshots.get(since, {}))
            for _ in range(2):
                apply(copy, feed)
                assert copy == world.snapshots[to], f"from {since} to {to}"
            assert all(row["version"] > since for row in feed), f"the feed from {since} tells of older versions"


class KnownRows(LiveRows):
    """Which rows of a version are live does not depend on the cursor: it is found out once for all of them."""

    @cached_property
    def _known(self) -> list[LiveFile]:
        return [*super().files()]

    def files(self, since: int = 0) -> Iterator[LiveFile]:
        return (file for file in self._known if file.file.version > since)


def rows_in(feed: Feed) -> Iterator[dict[str, Any]]:
    for batch in feed.batches():
        yield from batch.select(["id", "num_tokens", "version", "change"]).to_pylist()


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


def check_traces(world: World) -> None:
    """No file holds an erased id, as it lies or decoded."""
    for name, data in world.folder.files.items() if world.erased else ():
        told = str(pq.ParquetFile(io.BytesIO(data)).read().to_pydict()) if data.startswith(b"PAR1") else ""
        for each in world.erased:
            assert each.encode() not in data and f"'{each}'" not in told, f"{name} holds {each}, which was erased"
