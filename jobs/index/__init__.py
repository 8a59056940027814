"""Search indexes: what they want (limits.py, their recorded limits), and the Target protocol: how `embermill load` sees one.

The loader knows nothing of PostgreSQL or FAISS.

Ours are in embermill.jobs.index.targets, one class each; `python:module:Class` is any other: `Class(address: Address)` with the methods of Target. It may
derive from `Target`, and has the defaults below where it says nothing else. embermill.jobs.index.opening finds and makes them;
`embermill load DATASET 'python:module:Class?table=docs'` loads into it.

What the loader does with one, in this order (loading.py):

    lock()                        nobody else loads into it now
    describe()                    what is there, and the cursor that the last loader left
    require_fit(layout)           refuse a table that is there and cannot take the rows
    may_alias(name)               only where an alias is asked for
    prepare(layout)               make what is missing; from here on it is written to
    commit(cursor)                before the first row, and after every unit of rows: rows and cursor are durable together, or at least the rows before it
    expect(rows)                  of a first load
    upsert(rows, new), delete(ids)
    finish(layout)                build the index, tidy up
    count(), fetch(ids), search   what is compared with the dataset afterwards
    alias(name)                   only where has_alias
    close()

A loader may be killed at any instant. It is started again with the cursor that `describe` gives, and then applies the units that the cursor does not name
once more. So `upsert` and `delete` must be idempotent: an upsert replaces the row of that id, a delete of an id that is not there does nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

COSINE, DOT, L2 = "cosine", "dot", "l2"
METRICS = (COSINE, DOT, L2)
FLOAT32, FLOAT16, INT8, UBINARY = "float32", "float16", "int8", "ubinary"


@dataclass(frozen=True)
class Address:
    """A target as it was named, taken apart. text: with credentials, if it has any. shown: without, for messages and logs.

    `scheme:place?option=value`, where a scheme of a server is followed by `//`: place is then the authority and path, "user:secret@host:5432/db".
    """

    text: str
    shown: str
    scheme: str
    place: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VectorForm:
    """The column of vectors. dtype: "float32", "float16", "int8", or "ubinary" (eight dimensions a byte, the first in its most significant bit)."""

    name: str
    dtype: str
    dimensions: int

    @property
    def arrow_type(self) -> pa.DataType:
        """As the rows have it that `upsert` gets: a list of fixed size."""
        values = {FLOAT32: pa.float32(), FLOAT16: pa.float16(), INT8: pa.int8(), UBINARY: pa.uint8()}[self.dtype]
        return pa.list_(pa.field("element", values, nullable=False), self.dimensions // 8 if self.dtype == UBINARY else self.dimensions)


@dataclass(frozen=True)
class Layout:
    """What the rows look like. Names are the target's (after --map). id: an integer or a string, never null. columns: the kept ones, each may be null.

    uuids: names among id and columns that hold UUIDs as text with dashes, for a target that has the type.
    """

    id: pa.Field
    vector: VectorForm
    metric: str
    columns: tuple[pa.Field, ...] = ()
    uuids: frozenset[str] = frozenset()

    @property
    def schema(self) -> pa.Schema:
        """Of the rows that `upsert` gets: id, vector, columns."""
        vector = pa.field(self.vector.name, self.vector.arrow_type, nullable=False)
        return pa.schema([self.id.with_nullable(False), vector, *self.columns])


@dataclass(frozen=True)
class Standing:
    """What is in a target. dimensions, metric: None where it cannot say. cursor: the text of the last `commit`; None where there is none."""

    rows: int
    dimensions: int | None = None
    metric: str | None = None
    cursor: str | None = None


class Target(ABC):
    """One index. Its methods are called from one thread; with --workers the loader makes several of one class, of which the first alone holds the lock.

    What its client library raises is told to the user as it is, and ends the load; running it again resumes. Raise UsageError for what a person must fix,
    AnotherRun where another loader is at work, Interrupted for what passes by itself (embermill.jobs.errors).
    """

    limits: str = ""
    """Whose recorded limits on ids and columns hold here (embermill.jobs.index.limits); "" for none."""
    dtypes: tuple[str, ...] = (FLOAT32,)
    """Forms of vectors that it takes."""
    dtypes_note: str = ""
    """Why not more, for who is refused: "Chroma has float32 alone"."""
    metrics: tuple[str, ...] = METRICS
    """The first is the default; `?metric=` in its address chooses."""
    options: tuple[str, ...] = ()
    """Options of its address beside `metric`."""
    takes_any_option: bool = False
    """Whether unknown options of its address are its client library's."""
    transactional: bool = False
    """Whether nothing of what was upserted and deleted since the last `commit` stays where the loader is killed before the next one."""
    normalizes: bool = False
    """Whether it may keep vectors of length 1 in place of those it was given, where the metric is cosine."""
    unit_rows: int = 1 << 17
    """Rows of small files that are one unit together. A kill loses a unit at most; who is fast, and slow at many small writes, takes more."""
    max_workers: int | None = 1
    """How many may write at once, each through an instance of its own; None: any number."""
    has_alias: bool = False
    never_run: str = ""
    """What it ran against in place of a real server, where it never met one; help, guide and each load say it."""
    _layout: Layout | None = None
    """For a target that keeps what `prepare` was given, and reads it as `_known` from then on."""

    @abstractmethod
    def __init__(self, address: Address) -> None:
        """Connect. Writes nothing."""
        ...

    @abstractmethod
    def describe(self) -> Standing | None:
        """What is there; None where the collection (table, file) does not exist. Writes nothing."""
        ...

    @abstractmethod
    def prepare(self, layout: Layout) -> None:
        """Create what is missing. Called before the first row is written, each time."""
        ...

    @abstractmethod
    def upsert(self, rows: pa.RecordBatchReader, *, new: bool) -> None:
        """Write all of these rows, of layout.schema, in place of those with the same ids.

        new: no row with one of these ids is there, so there is nothing to replace. All rows of one call are one unit and may be many; batches are small.
        """
        ...

    @abstractmethod
    def delete(self, ids: pa.Array) -> None:
        """Remove these ids, of layout.id's type, where they are there."""
        ...

    @abstractmethod
    def commit(self, cursor: str) -> None:
        """Make durable what was written since the last one, with this cursor (JSON, a few hundred bytes) as what `describe` gives from now on.

        Never the cursor before the rows. A target that keeps its rows in memory may hold both back until `finish`.
        """
        ...

    @abstractmethod
    def finish(self, layout: Layout) -> None:
        """All rows are there: make durable what was held back, build the index where there is none. Called after every load."""
        ...

    @abstractmethod
    def count(self) -> int: ...

    @abstractmethod
    def fetch(self, ids: pa.Array) -> pa.RecordBatch:
        """The rows of these ids, of layout.id and the vector, in any order; ids that are not there are left out."""
        ...

    @abstractmethod
    def search(self, vectors: np.ndarray, k: int) -> Sequence[Sequence[Any]]:
        """Of each of these vectors [Q, E], in the stored form, the ids of the k nearest rows, nearest first."""
        ...

    def lock(self) -> None:  # noqa: B027 (nothing, unless a class says more)
        """Keep other loaders out until `close`, or until this process ends, however it ends. Raise AnotherRun where one is at work. Writes no rows."""

    def require_fit(self, layout: Layout) -> None:  # noqa: B027
        """Raise UsageError where what is there, made by somebody else perhaps, cannot take rows of this layout. Called before `prepare`. Writes nothing."""

    def expect(self, rows: int) -> None:  # noqa: B027
        """So many rows there will be after this first load: a target that holds them in memory makes room at once. Called before the first `upsert`."""

    def may_alias(self, name: str) -> bool:
        """Whether `alias(name)` can be done: no collection of its own has that name. Writes nothing."""
        return True

    def alias(self, name: str) -> None:
        """Let `name` mean this collection from now on, whatever it meant before, at once."""
        raise NotImplementedError

    def close(self) -> None:  # noqa: B027
        """Release what is held. What was not committed is dropped."""

    @property
    def _known(self) -> Layout:
        assert self._layout is not None
        return self._layout
