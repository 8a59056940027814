"""`embermill load`: from where the target's cursor stands to a version of the dataset, unit by unit.

The rows of a first load are those that are live in the version it goes to. Later versions follow one by one; inside a version ids are disjoint, so its
units may be written in any order and at once, and only between versions does everybody wait.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing

import pyarrow as pa

from embermill.channel import Channel
from embermill.counts import several
from embermill.jobs.dataset.metadata.retirement import retired_numbers
from embermill.jobs.dataset.metadata.versions import Version, read_version, read_versions
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.index import Target
from embermill.jobs.index.checking import Sample
from embermill.jobs.index.cursor import Cursor
from embermill.jobs.index.source import DELETES, Source, Unit, start
from embermill.jobs.wording import units

log = logging.getLogger(__name__)

DELETED_AT_A_TIME = 1 << 14
READ_AHEAD = 4  # batches
COMPACT = "compact"


class Load:
    """One load into one target. targets: of one class; the first holds the lock, each is used by one thread. count: operations so far."""

    def __init__(self, source: Source, targets: Sequence[Target], cursor: Cursor, *, occupied: bool, progress: Callable[[int, int], None]) -> None:
        """occupied: the target holds rows that the cursor does not know of."""
        self.source, self.targets, self.cursor = source, targets, cursor
        self.sample = Sample()
        self.upserted = self.deleted = self.units = 0
        self._occupied, self._progress, self._total = occupied, progress, 0
        self._lock, self._stop = threading.Lock(), threading.Event()

    def advance(self, to: Version) -> None:
        """Bring the target to that version. Killed anywhere, the same call resumes."""
        for version in versions_on_the_way(self.source, self.cursor, to):
            self._load_version(version)

    def _load_version(self, version: Version) -> None:
        since, partly = self.cursor.version, None if self.cursor.loading is None else self.cursor.loading.to
        if version.cause == COMPACT and version.parent == since and partly is None:  # the same rows in other files
            self._commit(self.cursor.reached(version.number))
            return
        live = start(self.source, since, version, partly)
        first = not since and not self._occupied
        resumed = partly is not None
        new = first and (not resumed or (self.targets[0].transactional and partly == version.number))
        self._commit(self.cursor.begun(version.number))
        deletes = None if first and partly in (None, version.number) else live.deleted(since)
        if not since:
            self._total += version.totals["rows"]
            self.targets[0].expect(version.totals["rows"])
        self._in_threads(live, since, new)
        if deletes is not None:
            self._delete(deletes)
        self._commit(self.cursor.reached(version.number))
        written = several(self.upserted, units(self.source.plan.rows.is_chunked)[1])
        log.info("version %d is loaded: %s written, %d deleted so far", version.number, written, self.deleted)

    def _in_threads(self, live: LiveRows, since: int, new: bool) -> None:
        """Every unit that is not there yet, one after another, or several at once."""
        units = self.source.units(live, since, self.cursor.loading, self.targets[0].unit_rows)
        if len(self.targets) == 1:
            for unit in units:
                self._write(self.targets[0], live, unit, since, new)
            return
        errors: list[BaseException] = []

        def work(target: Target) -> None:
            try:
                while not self._stop.is_set():
                    with self._lock:
                        unit = next(units, None)
                    if unit is None:
                        return
                    self._write(target, live, unit, since, new)
            except BaseException as error:
                errors.append(error)
                self._stop.set()

        threads = [threading.Thread(target=work, args=(target,), name=f"load-{number}") for number, target in enumerate(self.targets)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()
        self._stop.clear()
        if errors:
            raise errors[0]

    def _write(self, target: Target, live: LiveRows, unit: Unit, since: int, new: bool) -> None:
        with closing(read_ahead(self._rows(live, unit, since))) as rows:
            target.upsert(pa.RecordBatchReader.from_batches(self.source.layout.schema, rows), new=new)
        with self._lock:
            cursor = self.cursor
            for number in unit.numbers:
                cursor = cursor.with_file(number)
            target.commit(cursor.to_text())
            self.cursor = cursor
            self.units += 1

    def _rows(self, live: LiveRows, unit: Unit, since: int) -> Iterator[pa.RecordBatch]:
        for file in unit.files:
            for batch in self.source.read(live, file, since):
                self.sample.see(batch, self.source.layout.id.name)
                with self._lock:
                    self.upserted += batch.num_rows
                self._progress(self.upserted, max(self._total, self.upserted))
                yield batch

    def _delete(self, deletes: pa.Table) -> None:
        if self.cursor.loading is not None and self.cursor.loading.has(DELETES):
            return
        ids = deletes.column("id").combine_chunks()
        ids = ids.chunk(0) if isinstance(ids, pa.ChunkedArray) and ids.num_chunks else ids
        for first in range(0, len(ids), DELETED_AT_A_TIME):
            part = ids.slice(first, DELETED_AT_A_TIME)
            self.sample.forget(part)
            self.targets[0].delete(part)
            self.deleted += len(part)
        self._commit(self.cursor.with_file(DELETES))

    def _commit(self, cursor: Cursor) -> None:
        with self._lock:
            self.targets[0].commit(cursor.to_text())
            self.cursor = cursor


def versions_on_the_way(source: Source, cursor: Cursor, to: Version) -> Iterator[Version]:
    """What is to be loaded one after another: of a first load the last one alone; what was begun before comes first, if it can still be read."""
    if cursor.version >= to.number and cursor.loading is None:
        return
    begun = None if cursor.loading is None else cursor.loading.to
    retired = retired_numbers(source.folder)
    committed = [version.number for version in read_versions(source.folder, files=False) if version.is_committed]
    later = [number for number in committed if cursor.version < number <= to.number and number not in retired]
    if not cursor.version:
        later = [number for number in later if number in (begun, to.number) or (begun in later and number > begun)]
    yield from (read_version(source.folder, number) for number in later if begun is None or begun not in later or number >= begun)


def read_ahead(batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
    """The same batches, read by a thread of its own while the last ones are being written."""
    channel: Channel[pa.RecordBatch | BaseException] = Channel(READ_AHEAD)

    def read() -> None:
        try:
            for batch in batches:
                if not channel.offer(batch):
                    return
        except BaseException as error:
            channel.offer(error)
        finally:
            channel.finish()

    thread = threading.Thread(target=read, name="load-reader", daemon=True)
    thread.start()
    try:
        for item in channel:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        channel.close()
        thread.join()
