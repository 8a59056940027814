"""One `embermill load` from the call to its answer: look, judge, load, compare, move the alias; with --follow again and again."""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from embermill.jobs.dataset.metadata.manifest import FINDINGS, read_manifest
from embermill.jobs.dataset.metadata.schema import uuid_columns
from embermill.jobs.dataset.metadata.versions import BASE, Version, documents_of, read_version
from embermill.jobs.dataset.metadata.why_empty import why_empty
from embermill.jobs.dataset.views.feed import ErasedSince
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.errors import UsageError
from embermill.jobs.index import Address, Standing, Target
from embermill.jobs.index.checking import SAMPLED, Checked, Sample, recall, require_count, require_vectors, vectors_of
from embermill.jobs.index.client_errors import told
from embermill.jobs.index.cursor import Cursor
from embermill.jobs.index.loading import Load, versions_on_the_way
from embermill.jobs.index.opening import metric_of, parse_address, target_class
from embermill.jobs.index.refusals import cursor_for, limits_rows, require_loadable, require_unique_ids, require_within_limits
from embermill.jobs.index.source import Source, describe_source, start
from embermill.jobs.plan.files import require_plan
from embermill.jobs.storage import open_folder

log = logging.getLogger(__name__)

LOOK_EVERY_S = 10.0
TOP_UP_FILES = 16


@dataclass(frozen=True)
class Options:
    """to: the version to go to; None: the newest. renamed: column -> what the target calls it. follow: wait for further versions, until interrupted."""

    to: int | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    vector: str | None = None
    workers: int = 1
    adopt: bool = False
    dry_run: bool = False
    alias: str | None = None
    probe: bool = False
    follow: bool = False
    look_every_s: float = LOOK_EVERY_S


@dataclass(frozen=True)
class Loaded:
    """What a load did. before, version: of the dataset, that the target had and has; 0: none. checked: None of a dry run. created: the target was not there.
    documents: of a dataset of chunks, whose rows are chunks. empty: why no row is live, where that is known."""

    dataset: str
    target: str
    before: int
    version: int
    rows: int
    upserted: int
    deleted: int
    seconds: float
    created: bool
    dry_run: bool = False
    checked: Checked | None = None
    alias: str | None = None
    documents: int | None = None
    empty: str | None = None


Progress = Callable[[int, int], None]


def load(uri: str, target: str, options: Options, progress: Progress = lambda done, total: None) -> Loaded:
    """Load a dataset into a target. Raises JobError: UsageError before the first write, DataError for what is found wrong afterwards, AnotherRun."""
    address = parse_address(target)
    made = target_class(address, (str(Path.cwd()),))
    folder = open_folder(uri)
    plan = require_plan(folder)
    source = describe_source(folder, plan, metric_of(address, made), options.vector, options.renamed, uuid_columns(plan))
    if options.alias is not None and not made.has_alias:
        raise UsageError(f"--alias {options.alias}: {address.scheme} has no aliases: let your application name {address.shown} itself")
    count = 1 if options.dry_run else _workers(options.workers, made)
    with open_targets(address, made, count, lock=not options.dry_run) as targets:
        require_unique_ids(source, _duplicates(source))
        loaded = _Round(source, address, targets, options, progress).run()
        while options.follow and not options.dry_run:
            log.info("%s: at version %d; waiting for the next one", address.shown, loaded.version)
            try:
                _wait(source, loaded.version, options.look_every_s)
            except KeyboardInterrupt:
                break
            loaded = _joined(loaded, _Round(source, address, targets, options, progress).run())
        return loaded


@contextlib.contextmanager
def open_targets(address: Address, made: type[Target], count: int, *, lock: bool = True) -> Iterator[list[Target]]:
    """Connected, the first of them with the lock, unless nothing will be written. What the client's library raises is told as an error of the target."""
    with told(address, made), contextlib.ExitStack() as stack:
        first = made(address)
        stack.callback(first.close)
        if lock:
            first.lock()
        targets = [first]
        for _ in range(count - 1):
            targets.append(made(address))
            stack.callback(targets[-1].close)
        yield targets


class _Round:
    """From where the target stands to one version."""

    def __init__(self, source: Source, address: Address, targets: Sequence[Target], options: Options, progress: Progress) -> None:
        self.source, self.targets, self.options, self.progress = source, targets, options, progress
        self.where, self.target = address.shown, targets[0]

    def run(self) -> Loaded:
        try:
            return self._load()
        except ErasedSince as error:
            raise UsageError(
                f"{self.where}: holds version {error.since} of {error.root}, and rows were erased from that dataset in version {error.erased}. It keeps no "
                "record of which rows these were, so a load cannot delete them here. Load into a new table or collection and then delete this one, which still "
                "holds the erased rows; or delete this one first and run the same command again"
            ) from None

    def _load(self) -> Loaded:
        began = time.monotonic()
        standing = self.target.describe()
        if standing is None or standing.cursor is None:  # else it was made by a load, and the cursor says more of what is there
            self.target.require_fit(self.source.layout)
        cursor = cursor_for(self.source, standing, self.where, self.options.adopt)
        self.target.require_fit(self.source.layout)
        to = read_version(self.source.folder, self.options.to)
        self._require_forward(cursor, to)
        require_loadable(self.source, self.target, to.totals["rows"], self.where)
        if self.options.alias == "":
            raise UsageError("--alias: it is empty: give the name that is to mean this table or collection")
        if self.options.alias is not None and not self.target.may_alias(self.options.alias):
            raise UsageError(f"--alias {self.options.alias}: is a table or collection itself in {self.where}: choose another name")
        if limits_rows(self.target):
            self._require_rows(cursor, to)
        if self.options.dry_run:
            return self._foreseen(standing, cursor, to, time.monotonic() - began)
        for target in self.targets:
            target.prepare(self.source.layout)
        self.target.commit(cursor.to_text())
        occupied = standing is not None and standing.rows > 0 and cursor.version == 0 and cursor.loading is None
        load = Load(self.source, self.targets, cursor, occupied=occupied, progress=self.progress)
        load.advance(to)
        self.target.finish(self.source.layout)
        checked = self._check(load.sample, to)
        if self.options.alias is not None:
            self.target.alias(self.options.alias)
        return Loaded(
            self.source.folder.root, self.where, cursor.version, to.number, to.totals["rows"], load.upserted, load.deleted,
            time.monotonic() - began, standing is None, checked=checked, alias=self.options.alias,
            documents=documents_of(self.source.folder, self.source.plan, to), empty=why_empty(self.source.folder, to),
        )  # fmt: skip

    def _require_forward(self, cursor: Cursor, to: Version) -> None:
        reached = max(cursor.version, cursor.loading.to if cursor.loading is not None and self.options.to is not None else 0)
        if reached > to.number:
            raise UsageError(
                f"{self.where}: has version {reached} of {self.source.folder.root} already, and --to asks for {to.number}: a load goes forward only. "
                f"`embermill rollback {self.source.folder.root} --to {to.number}` makes a new version with those rows"
            )

    def _require_rows(self, cursor: Cursor, to: Version) -> None:
        """Every row that is to be written is looked at without its vector."""
        for version in versions_on_the_way(self.source, cursor, to):
            live = self.source.live(version)
            since = max(cursor.version, (version.parent or 0)) if cursor.version else 0
            rows = (batch for file in live.files(since) for batch in self.source.read(live, file, since, vectors=False))
            require_within_limits(self.source, self.target, rows, self.where)

    def _foreseen(self, standing: Standing | None, cursor: Cursor, to: Version, seconds: float) -> Loaded:
        """Nothing is written: what would be."""
        live = start(self.source, cursor.version, to, None if cursor.loading is None else cursor.loading.to)
        loading = cursor.loading if cursor.loading is not None and cursor.loading.to == to.number else None
        files = [file for unit in self.source.units(live, cursor.version, loading, self.target.unit_rows) for file in unit.files]
        upserts = sum(file.rows for file in files)
        deletes = live.deleted(cursor.version).num_rows if cursor.version else 0
        return Loaded(
            self.source.folder.root, self.where, cursor.version, to.number, to.totals["rows"], upserts, deletes, seconds, standing is None,
            dry_run=True, alias=self.options.alias, documents=documents_of(self.source.folder, self.source.plan, to),
            empty=why_empty(self.source.folder, to),
        )  # fmt: skip

    def _check(self, sample: Sample, to: Version) -> Checked:
        layout = self.source.layout
        live = self.source.live(to)
        rows = require_count(self.target, to.totals["rows"], self.where)
        if len(sample) < min(SAMPLED, rows):
            self._top_up(sample, live)
        sampled = require_vectors(self.target, sample, layout, self.where)
        found = None
        if self.options.probe and sampled:
            queries = vectors_of(_column(sample, layout.vector.name))
            everything = (batch for file in live.files() for batch in self.source.read(live, file, 0))
            found = recall(self.target, queries, everything, layout)
        return Checked(rows, sampled, found)

    def _top_up(self, sample: Sample, live: LiveRows) -> None:
        """Rows that this load did not write: the first of a few files, so that looking at them costs few row groups."""
        files = [file for file in live.version.of_kind(BASE) if file.rows]
        for file in random.sample(files, min(len(files), TOP_UP_FILES)):
            more = Sample()
            for batch in islice(self.source.read(live, live.file(file), 0), 1):
                more.see(batch, self.source.layout.id.name)
            sample.add(more)
            if len(sample) == SAMPLED:
                return


def _column(sample: Sample, name: str) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches(sample.rows()).column(name)


def _workers(asked: int, made: type[Target]) -> int:
    if made.max_workers is not None and asked > made.max_workers:
        log.warning("--workers %d: this target takes %d at once", asked, made.max_workers)
        return made.max_workers
    return asked


def _duplicates(source: Source) -> int | None:
    """What the run that made the dataset found; a later version has none."""
    manifest = read_manifest(source.folder)
    found = None if manifest is None else manifest.root.get(FINDINGS)
    return None if found is None or read_version(source.folder).number > 1 else found.get("duplicate_ids")


def _wait(source: Source, version: int, look_every_s: float) -> None:
    """Until there is a later version."""
    while read_version(source.folder).number <= version:
        time.sleep(look_every_s)


def _joined(before: Loaded, after: Loaded) -> Loaded:
    """Both rounds of one call."""
    return Loaded(
        after.dataset, after.target, before.before, after.version, after.rows, before.upserted + after.upserted, before.deleted + after.deleted,
        before.seconds + after.seconds, before.created, checked=after.checked, alias=after.alias, documents=after.documents, empty=after.empty,
    )  # fmt: skip
