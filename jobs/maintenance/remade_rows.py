"""Files of a base, or of a rollback's upserts, made again without the version that they were made from: its files may be collected, or erased.

The keys of the version say which rows the file holds, in which order, and of which version each is; the corpus has the rows, where they are still there with
the same text and kept columns; the engine makes the vectors once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.dataset.metadata.keys import buckets_of, digest_text_hashes, read_bucket
from embermill.jobs.dataset.metadata.meta_hash import meta_hash
from embermill.jobs.dataset.metadata.schema import VERSION, row_schema
from embermill.jobs.dataset.metadata.versions import KEYS, Version, VersionFile
from embermill.jobs.dataset.views.live import open_rows, with_version
from embermill.jobs.difference.selecting import read_selected
from embermill.jobs.engine import Engine
from embermill.jobs.errors import DataError
from embermill.jobs.maintenance.embedding_here import embed_here
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.listing import list_corpus, survey_listed
from embermill.jobs.plan.planning import cut_corpus, partition_text_bytes
from embermill.jobs.receipt import Failed, Task
from embermill.jobs.shard.text_hash import hash_documents
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import Folder
from embermill.jobs.versions.row_files import blank, write_rows

KEY = ["id", "text_hash", "meta_hash"]


def remake_rows(
    folder: Folder, plan: Plan, version: Version, file: VersionFile, staging: Folder, *, make: Callable[[], tuple[Engine, JobConfig]]
) -> VersionFile:
    """Write the file into `staging`; as it is there. DataError where not all of its rows can be found.

    version: one that has the file, and the keys of the version that added it. Reads the whole corpus; memory: the rows of the file.
    """
    keys = keys_of_file(folder, plan, version, file)
    engine, config = make()
    parts = cut_corpus(survey_listed(config.corpus, list_corpus(config.corpus)), partition_text_bytes(config, plan.device_kind))
    found = {part.number: rows for part in parts if len(rows := _wanted(part, plan, keys))}
    made = _embed(plan, [part for part in parts if part.number in found], found, staging, engine, config)
    rows = _in_order(plan, keys, made)
    return write_rows(staging, plan, blank(file.number, file.kind, file.name, file.version), rows.to_batches())


def keys_of_file(folder: Folder, plan: Plan, version: Version, file: VersionFile) -> pa.Table:
    """In row order. DataError where the version's own keys do not tell of every row."""
    own = [each for each in version.of_kind(KEYS) if each.version == file.version]
    buckets = range(buckets_of(version) or 0)
    tables = [table for each in own for bucket in buckets if (table := read_bucket(folder, each, bucket)) is not None]
    keys = pa.concat_tables(tables) if tables else None
    if keys is not None:
        keys = keys.filter(pc.equal(keys.column("shard"), file.number)).sort_by("row")
    if keys is None or (keys.num_rows != file.rows and not plan.rows.is_chunked):
        raise DataError(f"{folder.root}/{file.name}: the keys of version {version.number} do not tell which rows it held")
    return keys.combine_chunks()


def _wanted(part: Partition, plan: Plan, keys: pa.Table) -> np.ndarray:
    """Ordinals within a partition of the corpus of the rows that are the file's: the same id, text and kept columns."""
    found = [np.empty(0, np.int64)]
    kept = [name for _, name, _ in plan.rows.kept]
    for batch in read_rows(part, plan.rows.of_documents):
        at = pc.index_in(batch.ids, keys.column("id").combine_chunks())
        here = np.flatnonzero(at.is_valid())
        if len(here):
            place = at.take(pa.array(here))
            taken = pa.array(here)
            values = pa.table([column.take(taken) for column in batch.kept[: len(kept)]], names=kept) if kept else pa.table({"": batch.ids.take(taken)})
            told = keys.take(place)
            same = _equal(digest_text_hashes(hash_documents(batch, plan.rows).take(taken)), told.column("text_hash"))
            same &= _equal(meta_hash(values, kept), told.column("meta_hash"))
            found.append(batch.rows[here[same]].astype(np.int64))
    return np.concatenate(found)


def _equal(left: pa.Array, right: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.equal(left, right.combine_chunks()))


def _embed(
    plan: Plan, parts: list[Partition], wanted: Mapping[int, np.ndarray], staging: Folder, engine: Engine, config: JobConfig
) -> Iterator[pa.Table]:
    """Tables of these rows, of the dataset's schema, each partition's through files in `staging`."""
    open_shard = partial(ShardWriter, staging, replace(plan, partitions=tuple(parts)))
    tasks = (Task(part, frozenset()) for part in parts)
    for event in embed_here(engine, config, plan, lambda part: read_selected(part, plan.rows.of_documents, wanted[part.number]), open_shard, tasks):
        if isinstance(event, Failed):
            raise DataError(event.message)
    for name, _ in sorted(staging.list("data")):
        with open_rows(staging, name) as parquet:
            yield pa.Table.from_batches([with_version(batch) for batch in parquet.read(use_threads=False).to_batches()])


def _in_order(plan: Plan, keys: pa.Table, made: Iterator[pa.Table]) -> pa.Table:
    """The file's rows in its order, each with the version in which it last changed. DataError where one is missing."""
    schema = row_schema(plan)
    tables = [table.select(schema.names).cast(schema) for table in made]
    rows = pa.concat_tables([schema.empty_table(), *tables]).combine_chunks()
    ids, place = rows.column(plan.rows.key_name).combine_chunks(), schema.get_field_index(VERSION)
    at = pc.index_in(keys.column("id"), ids if rows.num_rows else pa.array([], plan.rows.key_type))
    if missing := at.null_count:
        what = "documents" if plan.rows.is_chunked else "rows"
        raise DataError(f"{missing:,} of its {keys.num_rows:,} {what} are no longer in the corpus with the same text and kept columns")
    if plan.rows.is_chunked:
        of = np.asarray(pc.index_in(ids, keys.column("id").combine_chunks()))
        order = np.argsort(of, kind="stable")  # chunks of a document come one after another
        return rows.take(pa.array(order)).set_column(place, schema.field(VERSION), keys.column("version").take(pa.array(of[order])))
    return rows.take(at).set_column(place, schema.field(VERSION), keys.column("version"))
