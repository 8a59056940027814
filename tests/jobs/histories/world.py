"""A dataset in memory and the dictionary that it must equal."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import TypeVar

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.claims import claim_number
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.deletes import write_deletes
from embermill.jobs.dataset.metadata.keys import KeyRange, buckets_of, deleted_keys, digest_text_hashes, keys_of_rows, live_keys, publish_keys, split_by_bucket
from embermill.jobs.dataset.metadata.lease import hold_lease
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.dataset.metadata.meta_hash import meta_hash
from embermill.jobs.dataset.metadata.schema import row_schema
from embermill.jobs.dataset.metadata.versions import (
    BASE,
    DELETES,
    UPSERTS,
    Contents,
    Version,
    VersionFile,
    abandon_version,
    commit_version,
    read_version,
)
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.difference.difference import WRITTEN, Action, Files, difference, scan_schema
from embermill.jobs.errors import AnotherRun
from embermill.jobs.plan.files import Plan, write_plan
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.text_hash import hash_texts
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import Folder
from embermill.jobs.versions.compact import compact
from embermill.jobs.versions.erase import erase_rows
from embermill.jobs.versions.retention import kept_versions, readable_versions, retire_others, unneeded_files
from embermill.jobs.versions.rollback import rollback
from embermill.jobs.versions.row_files import blank, part_name, write_rows
from tests.jobs.sample_dataset import DIM, embed, make_batch, make_plan
from tests.jobs.stores.memory import MemoryFolder

T = TypeVar("T")
Rows = dict[str, int]  # id -> what stands for its text and its metadata
PARTITIONS, ROWS = 3, 4
BUCKETS = (1, 1, 1, 2)  # of which a world has one
CORPUS = Files(np.zeros(1, np.int32), np.ones(1, bool), np.zeros(1, bool))
NEW_IDS = [f"new-{number}" for number in range(6)]
ONCE = ("abandon", "outrun", "begin", "compact", "rollback", "gc", "erase")  # for
SYNCS = 5  # of these


class Killed(BaseException):
    """The process, at a put."""


class DyingFolder(MemoryFolder):
    """Dies at the put that is number `puts` from now, before or after it has happened."""

    puts, after = -1, False

    def create(self, name: str, data: bytes) -> None:
        self.puts -= 1
        if self.puts == 0 and not self.after:
            raise Killed
        super().create(name, data)
        if self.puts == 0:
            raise Killed


@cache
def plan() -> Plan:
    return make_plan(PARTITIONS, rows=ROWS, rows_per_shard=5, tells_versions=True)


@cache
def first_version() -> dict[str, bytes]:
    folder = MemoryFolder()
    write_plan(folder, plan())
    log = CommitLog(folder)
    log.append([_write_shard(folder, number) for number in range(PARTITIONS)])
    publish_manifest(folder, plan(), log)
    return folder.files


@cache
def first_rows() -> Rows:
    folder = MemoryFolder(dict(first_version()))
    return rows_of(LiveRows(folder, plan(), read_version(folder)))


def _write_shard(folder: MemoryFolder, number: int) -> Receipt:
    """Rows whose text is their number of tokens, without metadata, as `_batch` makes them."""
    batch = make_batch(0, ROWS, prefix=f"p{number}")
    embedded = embed(batch)
    texts = pa.array(embedded.num_tokens.astype(str).tolist(), pa.string())
    with ShardWriter(folder, plan(), plan().partitions[number], 0) as writer:
        writer.write(replace(batch, texts=texts, kept=(pa.nulls(ROWS, pa.string()),)), embedded)
        return writer.finish(True, {})


class World:
    """history: what was done, in words. snapshots: version -> rows as they were. Seeded, and nothing else decides.

    retired: versions that can no longer be read. erasures: versions that are one. erased: ids of which no file may tell any more.
    """

    def __init__(self, seed: int, folder: MemoryFolder | None = None) -> None:
        self.rng = random.Random(seed)
        self.folder = folder or DyingFolder()
        self.folder.files.update(first_version())
        self.plan = plan()
        self.rows = dict(first_rows())
        self.snapshots = {1: dict(self.rows)}
        self.values = 1000
        self._found = 0  # the number whose difference was looked at
        self.buckets = self.rng.choice(BUCKETS)
        self.history: list[str] = []
        self.retired: set[int] = set()
        self.erasures: set[int] = set()
        self.erased: set[str] = set()

    def step(self) -> None:
        getattr(self, self.rng.choice(("sync",) * SYNCS + ONCE))()

    def sync(self) -> None:
        upserts, deletes = self._changes()
        before = read_version(self.folder).number

        def make() -> Version:
            newest = read_version(self.folder)  # a killed one may have committed
            return newest if newest.number > before else commit_version(self.folder, self._make(upserts, deletes))

        version = self._survive(make)
        self.rows = {each: value for each, value in (self.rows | upserts).items() if each not in deletes}
        self._note(version, f"sync {sorted(upserts)} -{sorted(deletes)}")

    def begin(self) -> None:
        """Files of a version that is in the making, whatever comes next."""
        contents = self._make(*self._changes())
        self.history.append(f"{contents.number}: begun")

    def abandon(self) -> None:
        """Files of a version that does not come to be."""
        contents = self._make(*self._changes())
        abandon_version(self.folder, contents.number, "the corpus changed")
        self._come_late(contents)

    def outrun(self) -> None:
        """While a version is in the making another sync gives its number up and takes the next one, unless it is to change the very same."""
        contents = self._make(*self._changes())
        self.sync()
        if contents.number not in self.snapshots:
            self._come_late(contents)

    def _come_late(self, contents: Contents) -> None:
        """The maker of an abandoned version is a zombie that publishes some more of its files and would commit it."""
        self.history.append(f"{contents.number}: abandoned")
        late = blank(99, UPSERTS, part_name(f"changes/{contents.number:06d}/upserts", 7), contents.number)
        write_rows(self.folder, self.plan, late, [self._batch(dict.fromkeys(self.rows, 1), contents.number)])
        try:
            commit_version(self.folder, contents)
        except AnotherRun:
            return
        raise AssertionError(f"a zombie committed version {contents.number}")

    def compact(self) -> None:
        self._survive(lambda: compact(self.folder, self.plan))
        version = read_version(self.folder)  # a killed one may have committed
        if version.number not in self.snapshots:
            self._note(version, "compact")

    def rollback(self) -> None:
        to = self.rng.choice([number for number in self.snapshots if number not in self.retired])
        version = self._survive(lambda: rollback(self.folder, self.plan, to))
        if version is not None:
            self.rows = dict(self.snapshots[to])
            self._note(version, f"rollback to {to}")

    def gc(self) -> None:
        keep = self.rng.choice([None, 1, 2, 5])
        kept = kept_versions(readable_versions(self.folder), datetime.now(UTC), keep, None)
        self.retired |= set(retire_others(self.folder, kept, "gc"))
        for name, _ in [*unneeded_files(self.folder)]:
            self.folder.remove(name)
        self.history.append(f"gc, keeping {keep}")

    def erase(self) -> None:
        """Ids that are in rows, or were, or never."""
        known = sorted({*self.snapshots[1], *NEW_IDS})
        ids = sorted(self.rng.sample(known, self.rng.randrange(1, 4)))
        with hold_lease(self.folder, purpose="erase") as lease:
            erased = self._survive(lambda: erase_rows(self.folder, self.plan, pa.array(ids), lease))
        self.erased |= {*ids}
        if erased.version is None:  # no file named any of them, which checks.py sees for itself
            assert not self.rows.keys() & {*ids}
            self.history.append(f"erase {ids}, in no file")
            return
        self.retired |= {*self.snapshots} - {erased.version}
        self.erasures.add(erased.version)
        self.rows = {each: value for each, value in self.rows.items() if each not in ids}
        self._note(read_version(self.folder), f"erase {ids}")

    def _survive(self, make: Callable[[], T]) -> T:
        """Do it, killed at a random put in one of two cases and done again."""
        if isinstance(self.folder, DyingFolder) and self.rng.random() < 0.5:
            self.folder.puts, self.folder.after = self.rng.randrange(1, 9), self.rng.random() < 0.5
            try:
                return make()
            except Killed:
                self.history.append("killed")
            finally:
                self.folder.puts = -1
        return make()

    def _note(self, version: Version, what: str) -> None:
        self.snapshots[version.number] = dict(self.rows)
        self.history.append(f"{version.number}: {what}")

    def _changes(self) -> tuple[Rows, list[str]]:
        """Upserts (edits of live rows, inserts, re-inserts) and deletes."""
        known = sorted({*self.snapshots[1], *NEW_IDS})
        chosen = self.rng.sample(known, self.rng.randrange(0, 6))
        deletes = [each for each in chosen if each in self.rows and self.rng.random() < 0.4]
        upserts = {}
        for each in chosen:
            if each not in deletes:
                self.values += 1
                upserts[each] = self.values
        self.erased -= {*upserts}
        return upserts, deletes

    def _make(self, upserts: Rows, deletes: list[str]) -> Contents:
        """What a sync does: files of upserts in two parts, deletes, keys (all of them, where the parent has none). What is to change, the difference says."""
        number, parent = claim_number(self.folder, "sync", {"changes": upserts, "deletes": deletes})
        if number != self._found:  # else it is being made again, after a kill
            self._require_found(parent, upserts, deletes)
            self._found = number
        files: list[VersionFile] = []
        batches: list[tuple[VersionFile, pa.RecordBatch]] = []
        parts = 1 + (number % 2)
        for part, ids in enumerate(sorted(upserts)[first::parts] for first in range(parts)):
            if ids:
                place = blank(parent.next_file + len(files), UPSERTS, part_name(f"changes/{number:06d}/upserts", part), number)
                batch = self._batch({each: upserts[each] for each in ids}, number)
                files.append(write_rows(self.folder, self.plan, place, [batch]))
                batches.append((files[-1], batch))
        if deletes:
            table = pa.table({"id": deletes, "version": [number] * len(deletes), "reason": ["source_gone"] * len(deletes)})
            place = blank(parent.next_file + len(files), DELETES, part_name(f"changes/{number:06d}/deletes", 0), number)
            files.append(write_deletes(self.folder, self.plan, place, table))
        keys = [*(self._keys_of(file, batch) for file, batch in batches), deleted_keys(pa.array(deletes, pa.string()), number)]
        files += self._keys(parent, keys, number, parent.next_file + len(files))
        rows = len({*self.rows, *upserts} - {*deletes})
        return Contents(number, parent.number, "sync", {"rows": rows}, (*parent.files, *files), {})

    def _require_found(self, parent: Version, upserts: Rows, deletes: list[str]) -> None:
        """A corpus of one file with the rows that are wanted differs from the parent's keys in just these."""
        wanted = {each: value for each, value in (self.rows | upserts).items() if each not in deletes}
        buckets = buckets_of(parent)
        scanned = split_by_bucket(self._scanned(wanted), buckets or 1)
        written, missing = set[str](), set[str]()
        for bucket in range(buckets or 1):
            previous = live_keys(self.folder, parent, bucket, pa.string()) if buckets else pa.concat_tables(self._base_keys(parent))
            found = difference(previous, scanned.get(bucket, self._scanned({})), CORPUS).rows
            for action, each in zip(found.column("action").to_pylist(), found.column("id").to_pylist(), strict=True):
                assert action in (*WRITTEN, Action.MISSING, Action.MOVED), f"{each}: {Action(action).name}"
                if action == Action.MOVED:  # a rollback to the run, whose keys no sync had made yet, does not know the file
                    continue
                (missing if action == Action.MISSING else written).add(each)
        assert (written, missing) == ({*upserts}, {*deletes}), f"the difference found +{sorted(written)} -{sorted(missing)}"

    def _scanned(self, rows: Rows) -> pa.Table:
        values, numbers = self._texts(rows), np.zeros(len(rows), np.int32)
        nothing = pa.table({"lang": pa.nulls(len(rows), pa.string())})
        keys = [pa.array([*rows], pa.string()), digest_text_hashes(values), meta_hash(nothing, ["lang"])]
        return pa.Table.from_arrays([*keys, numbers, numbers, np.arange(len(rows), dtype=np.int32)], schema=scan_schema(pa.string()))

    def _base_keys(self, parent: Version) -> list[pa.Table]:
        """Keys of a base that has none yet."""
        return [self._keys_of(file, batch) for file in parent.of_kind(BASE) for batch in LiveRows(self.folder, self.plan, _only(file)).batches()]

    def _keys(self, parent: Version, changed: list[pa.Table], number: int, first_file: int) -> Iterator[VersionFile]:
        buckets = buckets_of(parent) or self.buckets
        changes = split_by_bucket(pa.concat_tables(changed), buckets)
        place = KeyRange(number, 0, buckets, buckets)
        if buckets_of(parent) is None:
            base = split_by_bucket(pa.concat_tables(self._base_keys(parent)), buckets)
            yield publish_keys(self.folder, KeyRange(1, 0, buckets, buckets), base, pa.string(), first_file)
            first_file += 1
        yield publish_keys(self.folder, place, changes, pa.string(), first_file)

    def _keys_of(self, file: VersionFile, batch: pa.RecordBatch) -> pa.Table:
        rows = pa.Table.from_batches([batch])
        return keys_of_rows(rows, id_name="id", kept=["lang"], files=0, shard=file.number, first_row=0)

    def _texts(self, rows: Rows) -> pa.Array:
        return hash_texts(pa.array([str(value) for value in rows.values()], pa.string()))

    def _batch(self, rows: Rows, version: int) -> pa.RecordBatch:
        values = np.array([*rows.values()], np.int32)
        columns = {
            "id": pa.array([*rows], pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(values, DIM).astype(np.float32)), type=self.plan.schema.field("embedding").type),
            "num_tokens": pa.array(values),
            "num_tokens_dropped": pa.array(np.zeros(len(values), np.int32)),
            "text_hash": self._texts(rows),
            "version": pa.array(np.full(len(values), version, np.int64)),
            "lang": pa.array([None] * len(values), pa.string()),
        }
        return pa.RecordBatch.from_pydict(columns, schema=row_schema(self.plan))


def _only(file: VersionFile) -> Version:
    return Version(1, None, "committed", "run", "", {}, {}, (file,))


def rows_of(live: LiveRows) -> Rows:
    found: Rows = {}
    for batch in live.batches(["id", "num_tokens"]):
        for each, value in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
            assert each not in found, f"{each} is live twice"
            found[each] = value
    return found


def open_world(seed: int, steps: int, folder: MemoryFolder | None = None) -> World:
    world = World(seed, folder)
    for _ in range(steps):
        world.step()
    return world


__all__ = ["Folder", "Killed", "Rows", "World", "open_world", "rows_of"]
