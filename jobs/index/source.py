"""The dataset's side of a load: what is read of it, under which names, and in which units."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from embermill.jobs.dataset.metadata.schema import row_schema
from embermill.jobs.dataset.metadata.versions import Version
from embermill.jobs.dataset.views.feed import read_feed
from embermill.jobs.dataset.views.live import LiveFile, LiveRows
from embermill.jobs.index import FLOAT16, FLOAT32, INT8, UBINARY, Layout, VectorForm
from embermill.jobs.index.columns import index_columns
from embermill.jobs.index.cursor import Loading
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import Folder

DELETES = -1  # the number of the unit of deletes
BATCH_BYTES = 6 << 20  # of vectors; with 16 MiB the allocator asks the system for fresh memory again and again: reading takes a fifth more CPU
DTYPES = {pa.float32(): FLOAT32, pa.float16(): FLOAT16, pa.int8(): INT8, pa.uint8(): UBINARY}


@dataclass(frozen=True)
class Unit:
    """What is written between two commits: some small files or a large one, or the deletes. numbers: of its files, as the version has them."""

    numbers: tuple[int, ...]
    files: tuple[LiveFile, ...]
    rows: int


@dataclass(frozen=True)
class Source:
    """A dataset as a target is to have it. names: column of the dataset -> column of the target, of what is loaded, in the order of layout.schema."""

    folder: Folder
    plan: Plan
    layout: Layout
    names: Mapping[str, str]
    _live: dict[int, LiveRows] = field(default_factory=dict, compare=False, repr=False)

    def live(self, version: Version) -> LiveRows:
        """What is live in it; of the last one that was asked for, the ids of its changes are not read twice."""
        if version.number not in self._live:
            self._live.clear()
            self._live[version.number] = LiveRows(self.folder, self.plan, version)
        return self._live[version.number]

    @property
    def dataset(self) -> str:
        """Which dataset this is, wherever it lies: its first plan is never written again."""
        return hashlib.sha256(self.folder.read("_embermill/plan/000001/root.json")).hexdigest()[:32]

    @property
    def form(self) -> dict[str, Any]:
        vector = self.layout.vector
        column = next(source for source, name in self.names.items() if name == vector.name)
        described = {"column": column, "dtype": vector.dtype, "dimensions": vector.dimensions, "metric": self.layout.metric, "names": dict(self.names)}
        scale = next(form.scale for form in self.plan.stored if form.column == column)
        return described if scale is None else described | {"scale": scale}

    def units(self, live: LiveRows, since: int, loading: Loading | None, most: int) -> Iterator[Unit]:
        """Of the rows that changed after `since`, but for files that are loaded; small files together, with at most so many rows."""
        group: list[LiveFile] = []
        for file in live.files(since):
            if file.rows and (loading is None or not loading.has(file.file.number)):
                if group and sum(each.rows for each in group) + file.rows > most:
                    yield _unit(group)
                    group = []
                group.append(file)
        if group:
            yield _unit(group)

    def read(self, live: LiveRows, file: LiveFile, since: int, *, vectors: bool = True) -> Iterator[pa.RecordBatch]:
        """Rows of layout.schema, or without the vectors."""
        wanted = [source for source, name in self.names.items() if vectors or name != self.layout.vector.name]
        schema = pa.schema([self.layout.schema.field(self.names[source]) for source in wanted])
        for batch in live.read(file, wanted, since, self.batch_rows):
            yield pa.RecordBatch.from_arrays([_cast(array, field.type) for array, field in zip(batch.columns, schema, strict=True)], schema=schema)

    @property
    def batch_rows(self) -> int:
        kind = self.layout.vector.arrow_type
        width: int = kind.list_size * kind.value_type.bit_width // 8
        return max(256, min(16_384, BATCH_BYTES // width))


def describe_source(folder: Folder, plan: Plan, metric: str, vector: str | None, renamed: Mapping[str, str], uuids: frozenset[str] = frozenset()) -> Source:
    """vector: the column of vectors; None: the first. renamed: column of the dataset -> what the target calls it. UsageError for columns that are none."""
    schema, columns = row_schema(plan), index_columns(plan, vector, renamed)
    id_field = schema.field(columns.id).with_name(columns.id_name)
    form = _form(schema.field(columns.vector.column), columns.vector_name)
    layout = Layout(id_field, form, metric, tuple(columns.schema), frozenset(name for source, name in columns.names.items() if source in uuids))
    return Source(folder, plan, layout, columns.names)


def start(source: Source, since: int, to: Version, partly: int | None) -> LiveRows:
    """What is live in a version. partly: another version of which some rows are in the target. UsageError where what was erased since can no longer be told."""
    for cursor in {since, partly or 0} - {0, to.number}:
        read_feed(source.folder, source.plan, cursor, to.number)
    return source.live(to)


def _form(field: pa.Field, name: str) -> VectorForm:
    dtype = DTYPES[field.type.value_type]
    return VectorForm(name, dtype, field.type.list_size * (8 if dtype == UBINARY else 1))


def _unit(files: Sequence[LiveFile]) -> Unit:
    return Unit(tuple(file.file.number for file in files), tuple(files), sum(file.rows for file in files))


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array if array.type.equals(kind) else array.cast(kind)
