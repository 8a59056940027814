"""Files of rows, published create-if-absent under names that follow from the version: the same rows give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.corpus.chunk_columns import INDEX
from embermill.jobs.dataset.metadata.schema import row_schema
from embermill.jobs.dataset.metadata.versions import VersionFile
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import file_sha256, to_matrix
from embermill.jobs.shard.publishing import describe_published
from embermill.jobs.shard.row_group import RowGroupBuffer
from embermill.jobs.shard.writer import open_writer
from embermill.jobs.storage import AlreadyExists, Folder, naming_file

MOST_ROWS = 1 << 31  # in a file: a row group ends at its bytes


def part_name(folder: str, number: int) -> str:
    """folder: "bases/000040", "changes/000041/upserts". number: names sort in row order."""
    return f"{folder}/part-{number:09d}.parquet"


def write_rows(folder: Folder, plan: Plan, file: VersionFile, batches: Iterable[pa.RecordBatch]) -> VersionFile:
    """Publish rows (of row_schema, in this order) as `file.name`; the file as it stands. file: its number, kind, name and version.

    A file that is there already and holds other bytes is a DataError: names belong to one version, and that is made in one way.
    """
    schema = row_schema(plan)
    temporary = folder.temporary(file.name)
    rows = 0
    try:
        groups = RowGroupBuffer(replace(plan, schema=schema, rows_per_shard=MOST_ROWS))
        vectors = [form.column for form in plan.stored]
        with naming_file(temporary), open_writer(temporary, replace(plan, schema=schema)) as writer:
            for batch in batches:
                rows += batch.num_rows
                columns = {name: batch.column(name) for name in schema.names if name not in vectors}
                matrices = {name: to_matrix(pa.chunked_array([batch.column(name)])) for name in vectors}
                for table in groups.add(columns, matrices):
                    writer.write_table(table, row_group_size=table.num_rows)
            for table in groups.rest():
                writer.write_table(table, row_group_size=table.num_rows)
            writer.add_key_value_metadata({"embermill.fingerprint": json.dumps(plan.fingerprint, sort_keys=True)})
        return _publish(folder, temporary, replace(file, rows=rows))
    finally:
        temporary.unlink(missing_ok=True)


def whole_documents(plan: Plan, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows; of a dataset of chunks in batches that end where a document does. batches: of row_schema."""
    if not plan.rows.is_chunked:
        yield from batches
        return
    held: pa.RecordBatch | None = None
    for batch in batches:
        joined = batch if held is None else pa.concat_batches([held, batch])
        last = int(np.flatnonzero(joined.column(INDEX).to_numpy() == 0)[-1])
        if last:
            yield joined.slice(0, last)
        held = joined.slice(last)
    if held is not None:
        yield held


def standing_file(folder: Folder, file: VersionFile) -> VersionFile | None:
    """The file as a killed maker left it under that name, whole as every published file is; None where nothing is there."""
    if not folder.exists(file.name):
        return None
    found = describe_published(folder, file.name)
    with folder.open(file.name) as opened:
        rows = pq.read_metadata(opened).num_rows
    return replace(file, rows=rows, bytes=found.size, sha256=found.sha256)


def blank(number: int, kind: str, name: str, version: int) -> VersionFile:
    """A file that is to be written."""
    return VersionFile(number, kind, name, 0, 0, "", version)


def _publish(folder: Folder, temporary: Path, file: VersionFile) -> VersionFile:
    with temporary.open("rb") as written:
        file = replace(file, bytes=temporary.stat().st_size, sha256=file_sha256(written))
    try:
        folder.publish(temporary, file.name)
    except AlreadyExists:
        if describe_published(folder, file.name).sha256 != file.sha256:
            raise DataError(f"{folder.root}/{file.name}: it holds other rows than this version has: move it away and run the same command again") from None
    return file
