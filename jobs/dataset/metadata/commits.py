"""The commit log: which shards are done. The driver alone appends; a shard that no commit names is not part of the dataset yet."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from embermill.jobs import remedies
from embermill.jobs.bookkeeping.seal import broken_seal, sealed_parquet
from embermill.jobs.dataset.metadata.places import Places
from embermill.jobs.dataset.metadata.receipt_table import (
    SCHEMA,
    contradictions,
    differences,
    pack,
    read_receipts,
    receipt_at,
    shard_keys,
    to_receipts,
    to_table,
    unpack,
)
from embermill.jobs.errors import AnotherRun, DataError, MetadataDamaged
from embermill.jobs.plan.dataset_format import table_suffix
from embermill.jobs.plan.files import read_superseded
from embermill.jobs.receipt import Receipt, Shard
from embermill.jobs.shard.contents import Damaged, open_parquet
from embermill.jobs.storage import AlreadyExists, Folder

COMMITS = "_embermill/commits"
_NAME = re.compile(rf"{COMMITS}/(\d{{9}})\.(?:parquet|pq)")
TOKEN = b"embermill.lease_token"  # in a commit's footer: the fencing token of whoever wrote it
MAX_LATE_COMMITS = 100  # of a holder that was taken over; it stops at the first that it finds taken
PIECE_ROWS = 1 << 14  # receipts that are looked at together
KEY_COLUMNS = ("partition", "ordinal")
MERGED_ROWS = 512  # up to here tables in memory are joined, then packed: each takes ten kilobytes beside its rows, and a long run commits every other second
READERS = 8  # a long run leaves thousands of small files, and a store takes tens of milliseconds for each


class ContradictsCommit(DataError):
    """A receipt that says other than the one of the same shard that is committed. file: the commit that holds that one."""

    def __init__(self, what: str, file: str) -> None:
        super().__init__(f"{what}, as {file} says")
        self.file = file


class CommitLog:
    """All receipts that are committed, and the one place that adds to them. Memory: a few hundred bytes a receipt."""

    def __init__(self, folder: Folder, token: int = 0) -> None:
        """Read what is there. token: of the lease (lease.py) that is held, written into each commit. Raises MetadataDamaged for a damaged commit or one
        that contradicts another."""
        self.folder, self.token = folder, token
        self._forget()
        self._number = 0
        self.newest_token = 0  # of the commits that are known
        self._superseded = read_superseded(folder)
        names = [name for name, _ in folder.list(COMMITS) if _NAME.fullmatch(name)]
        self._suffix = names[0].removeprefix(f"{COMMITS}/")[9:] if names else ""  # of all commits; of new ones it is known once there is a plan
        for name, table in zip(names, self._read_ahead(names), strict=True):
            self._take(name, table)

    def _forget(self) -> None:
        """No receipt is known."""
        self._tables: list[pa.Table | pa.Buffer] = []  # the large ones packed
        self._starts: list[int] = []  # the place of each table's first row
        self._places = Places()  # (partition, ordinal) -> its place among the rows of all tables
        self._commits: list[tuple[int, int]] = []  # (the place of its first row, its number) of each commit

    @property
    def committed(self) -> AbstractSet[tuple[int, int]]:
        """(partition, ordinal) of every receipt."""
        return self._places.keys()

    def table(self) -> pa.Table:
        """Every receipt once, in row order of the dataset. Large: `columns` and `pieces` take less."""
        return self.columns(SCHEMA.names)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of every receipt, in row order of the dataset."""
        wanted = [*dict.fromkeys([*names, *KEY_COLUMNS])]
        found = pa.concat_tables([SCHEMA.empty_table().select(wanted), *(self._table(number, wanted) for number in range(len(self._tables)))])
        return found.sort_by([(name, "ascending") for name in KEY_COLUMNS]).select(names)

    def pieces(self, rows: int = PIECE_ROWS) -> Iterator[pa.Table]:
        """Every receipt once, in row order of the dataset, so many at a time."""
        keys = pa.concat_tables([SCHEMA.empty_table().select(KEY_COLUMNS), *(self._table(number, KEY_COLUMNS) for number in range(len(self._tables)))])
        places = np.lexsort([keys.column(name).to_numpy() for name in reversed(KEY_COLUMNS)])
        for first in range(0, len(places), rows):
            wanted = places[first : first + rows]
            numbers = np.searchsorted(self._starts, wanted, side="right") - 1
            found, order = list[pa.Table](), list[np.ndarray]()
            for number in np.unique(numbers):
                mine = np.flatnonzero(numbers == number)
                found.append(self._table(number).take(pa.array(wanted[mine] - self._starts[number])))
                order.append(mine)
            yield pa.concat_tables(found).take(pa.array(np.argsort(np.concatenate(order)))).combine_chunks()

    def receipts(self) -> Iterator[Receipt]:
        """In row order of the dataset."""
        return (receipt for piece in self.pieces() for receipt in to_receipts(piece))

    def shards(self) -> Iterator[Shard]:
        """What progress is counted by, of every receipt."""
        columns = self.columns(Shard._fields)
        for first in range(0, columns.num_rows, PIECE_ROWS):
            piece = columns.slice(first, PIECE_ROWS)
            yield from map(Shard, *(piece.column(name).to_pylist() for name in Shard._fields))

    def _table(self, number: int, names: Sequence[str] | None = None) -> pa.Table:
        held = self._tables[number]
        if isinstance(held, pa.Buffer):
            return unpack(held, names)
        return held if names is None else held.select(names)

    def file_of(self, partition: int, ordinal: int) -> str:
        """The commit that holds this receipt. KeyError where none does."""
        return self._file_at(self._places[partition, ordinal])

    def append(self, receipts: Sequence[Receipt]) -> list[Receipt]:
        """Commit a batch in one new file; those that are committed already are left out. Returns the new ones.

        Raises DataError where a receipt of a worker contradicts itself or one that is committed, AnotherRun where another driver commits here.
        """
        if not receipts:
            return []
        table = to_table(receipts)
        return [receipts[row] for row in self.append_table(table)]

    def append_table(self, table: pa.Table) -> list[int]:
        """The same for receipts as a table; which of its rows were new."""
        for _ in range(MAX_LATE_COMMITS):
            rows = self._new_rows(table)
            if not rows or self._create(table.take(rows)):
                return rows
        raise self._outrun()

    def restate(self, receipts: pa.Table) -> str:
        """The name of a commit that holds all of these receipts, which are those that are known: the newest where it does, else a new one.

        Every commit before it may go then.
        """
        for _ in range(MAX_LATE_COMMITS):
            if self._number and self._read(newest := self._name_of(self._number)).replace_schema_metadata(None).equals(receipts):
                return newest
            self._forget()
            if self._create(receipts):
                return self._name_of(self._number)
        raise self._outrun()

    def fence(self) -> None:
        """End the log of earlier holders (lease.Lease.fence says when): the number that they would commit under next is taken, by a commit without receipts.

        Commits are numbered one after another and created only if absent, so the older holder's next one, delayed on its way or not, meets this one and its
        driver stops; or it was there first: then it counts, and the number after it is taken.
        """
        if not any(self._create(SCHEMA.empty_table()) for _ in range(MAX_LATE_COMMITS)):
            raise self._outrun()

    def _create(self, table: pa.Table) -> bool:
        """One new commit; False where an earlier holder's stands under its number, which the listing did not show or which came late: it is known now."""
        self._suffix = self._suffix or table_suffix(self.folder)
        name = self._name_of(self._number + 1)
        data = sealed_parquet(table.replace_schema_metadata({TOKEN: str(self.token)}) if self.token else table)
        try:
            self.folder.create(name, data)
        except AlreadyExists:
            if self.folder.read(name) != data:  # else it is ours, and only the answer was lost
                self._catch_up(name)
                return False
        self._number += 1
        self.newest_token = self.token
        self._keep(table, name)
        return True

    def _catch_up(self, name: str) -> None:
        """AnotherRun unless the commit is of an earlier holder of the lease than us."""
        table = self._read(name)
        if _token_of(table) >= self.token:
            raise AnotherRun(
                f"{self.folder.root}/{name} was written by another run, which has taken over this dataset: this one stops. "
                "Nothing is lost: what both published is adopted"
            )
        self._take(name, table)

    def _outrun(self) -> AnotherRun:
        return AnotherRun(f"{self.folder.root}: a run that was taken over commits here as fast as this one looks: end it first")

    def _take(self, name: str, table: pa.Table) -> None:
        """Keep what a commit that was found says. Raises MetadataDamaged, and AnotherRun where a later holder of the lease has written it."""
        if self.token and _token_of(table) > self.token:
            raise AnotherRun(f"{self.folder.root}/{name} was written by another run, which has taken over this dataset: this one stops")
        try:
            self._keep(table.take(pa.array(self._new_rows(table), pa.int64())), name)
        except ContradictsCommit as error:
            both = f"and {error.file} contradict each other: {error}"
            raise MetadataDamaged(self.folder.root, name, both, remedies.COMMITS_APART) from None
        except DataError as error:
            raise self._damaged(name, f"cannot be right: {error}") from None
        self._number = max(self._number, _number_of(name))
        self.newest_token = max(self.newest_token, _token_of(table))

    def _read_ahead(self, names: Sequence[str]) -> Iterator[pa.Table]:
        """One after another, by several threads; a few are held that nobody has asked for yet."""
        with ThreadPoolExecutor(READERS) as readers:
            asked: deque[Future[pa.Table]] = deque()
            for name in names:
                asked.append(readers.submit(self._read, name))
                if len(asked) > 2 * READERS:
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()

    def _read(self, name: str) -> pa.Table:
        data = self.folder.read(name)
        if problem := broken_seal(data):
            raise self._damaged(name, f"is damaged: {problem}")
        try:
            with open_parquet(io.BytesIO(data)) as parquet:
                token = (parquet.schema_arrow.metadata or {}).get(TOKEN, b"0")
                return read_receipts(parquet).replace_schema_metadata({TOKEN: token})
        except Damaged as error:
            raise self._damaged(name, f"is damaged: {error}") from error

    def _damaged(self, name: str, what: str) -> MetadataDamaged:
        return MetadataDamaged(self.folder.root, name, what, remedies.COMMIT)

    def _keep(self, table: pa.Table, name: str) -> None:
        """table: new receipts, and those that `repair` has put in the place of others."""
        table, keys = table.replace_schema_metadata(None), shard_keys(table)
        for row, key in enumerate(keys):
            if key in self._places:
                number, known = self._locate(self._places[key])
                old = self._table(number)
                self._tables[number] = pa.concat_tables([old.slice(0, known), table.slice(row, 1), old.slice(known + 1)]).combine_chunks()
        fresh = [row for row, key in enumerate(keys) if key not in self._places]
        start = len(self._places)
        for place, row in enumerate(fresh, start):
            self._places.add(keys[row], place)
        self._commits.append((start, _number_of(name)))
        self._tables.append(table if len(fresh) == len(keys) else table.take(pa.array(fresh, pa.int64())))
        self._starts.append(start)
        self._merge()

    def _merge(self) -> None:
        """Join the last tables while they are of like size: each row is copied a dozen times at most. A large one that another has followed is packed."""
        while len(self._tables) > 1 and not isinstance(self._tables[-2], pa.Buffer):
            before, last = self._starts[-1] - self._starts[-2], len(self._places) - self._starts[-1]
            if before > 2 * last or before + last > MERGED_ROWS:
                if before > MERGED_ROWS // 2:
                    self._tables[-2] = pack(self._tables[-2])
                return
            self._tables[-2:] = [pa.concat_tables(self._tables[-2:]).combine_chunks()]
            del self._starts[-1]

    def _locate(self, place: int) -> tuple[int, int]:
        """(table, row in it)"""
        number = bisect_right(self._starts, place) - 1
        return number, place - self._starts[number]

    def _receipt_at(self, place: int) -> Receipt:
        number, row = self._locate(place)
        return receipt_at(self._table(number), row)

    def _file_at(self, place: int) -> str:
        return self._name_of(self._commits[bisect_right(self._commits, place, key=lambda commit: commit[0]) - 1][1])

    def _name_of(self, number: int) -> str:
        return f"{COMMITS}/{number:09d}{self._suffix}"

    def _new_rows(self, table: pa.Table) -> list[int]:
        """Rows of receipts that are not known yet, or that say which known one they replace; else one that is known must say the same.

        Those of partitions that a later one stands in for are passed over. DataError where receipts do not add up or contradict another.
        """
        for problem in contradictions(table):
            raise DataError(problem)
        new: dict[tuple[int, int], int] = {}
        for row, key in enumerate(shard_keys(table)):
            if key[0] in self._superseded:
                continue
            if key in new:
                if differing := _differing(receipt_at(table, new[key]), receipt_at(table, row)):
                    raise DataError(f"it contradicts itself: {_name(key)}: {differing}")
            elif key in self._places:
                standing, found = self._receipt_at(self._places[key]), receipt_at(table, row)
                if replaces(found, standing):
                    new[key] = row
                elif (differing := _differing(standing, found)) and not replaces(standing, found):
                    raise ContradictsCommit(f"{_name(key)}: {differing}", self._file_at(self._places[key]))
            else:
                new[key] = row
        return list(new.values())


REPLACES = "replaces"  # in a receipt's provenance: the SHA-256 of the shard, or of the quarantine file, that it was made in place of


def replaces(new: Receipt, old: Receipt) -> bool:
    """Whether `repair` has published this receipt because the file could not be made again as the older one describes it."""
    return new.provenance.get(REPLACES) == digest_of(old) and _differing(old, new) != ""


def digest_of(receipt: Receipt) -> str:
    """Of its files, for a receipt that replaces it."""
    return f"{receipt.shard_sha256} {receipt.quarantine_sha256}"


def _number_of(name: str) -> int:
    return int(name.removeprefix(f"{COMMITS}/")[:9])


def last_token(folder: Folder) -> int:
    """The fencing token in the last commit; 0 where there is none, or none that can be read."""
    names = [name for name, _ in folder.list(COMMITS) if _NAME.fullmatch(name)]
    try:
        with open_parquet(io.BytesIO(folder.read(names[-1]))) as parquet:
            return _token_of(parquet.schema_arrow.empty_table())
    except (IndexError, FileNotFoundError, Damaged):
        return 0


def _token_of(table: pa.Table) -> int:
    """0 for a commit of a version that knew no lease, or whose token is no number."""
    token = (table.schema.metadata or {}).get(TOKEN, b"0")
    return int(token) if token.isdigit() else 0


def _differing(known: Receipt, other: Receipt) -> str:
    return differences(known, other, history=False)


def _name(key: tuple[int, int]) -> str:
    return f"partition {key[0]} shard {key[1]}"
