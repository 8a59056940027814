"""Step 1: what the new and changed files hold, as keys in buckets. One file for each scanned partition, a row group a bucket, and a quarantine beside it."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.corpus.rows import Refusal, RowBatch, RowSchema
from embermill.jobs.dataset.metadata.id_hash import bucket_of
from embermill.jobs.dataset.metadata.meta_hash import meta_hash
from embermill.jobs.difference.difference import scan_schema
from embermill.jobs.difference.making import sync_folder
from embermill.jobs.difference.receipts import step_receipt
from embermill.jobs.partition import Partition
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.contents import Damaged, open_parquet
from embermill.jobs.shard.quarantine import QuarantineWriter
from embermill.jobs.shard.text_hash import digest_each, hash_documents
from embermill.jobs.storage import AlreadyExists, Folder

TOLD = b"embermill.scan"  # in a scan's footer: JSON of ScanTotals


@dataclass(frozen=True)
class ScanTotals:
    """Of one scanned partition. refused: file number -> rows. hidden: numbers of files with refused rows whose id is not known."""

    rows: int
    rows_refused: int
    text_bytes: int
    refused: dict[int, int] = field(default_factory=dict)
    hidden: tuple[int, ...] = ()
    quarantine: str | None = None

    def to_json(self) -> bytes:
        return json.dumps(vars(self) | {"refused": sorted(self.refused.items())}).encode()

    @staticmethod
    def from_json(data: bytes) -> ScanTotals:
        told = json.loads(data)
        return ScanTotals(**told | {"refused": {int(number): int(rows) for number, rows in told["refused"]}, "hidden": tuple(told["hidden"])})


def scan_name(version: int, partition: Partition) -> str:
    return f"{sync_folder(version)}/scan/part-{partition.number:09d}-{partition.id[:8]}.pq"


def quarantine_name(version: int, partition: Partition) -> str:
    return f"quarantine/{version:06d}/scan-{partition.number:09d}-{partition.id[:8]}.pq"


def scan(
    folder: Folder, version: int, partition: Partition, schema: RowSchema, numbers: Mapping[str, int], buckets: int, unreadable: Mapping[str, str]
) -> Receipt:
    """Read one partition and publish what is in it. numbers: path -> number of the corpus file. What is there already is ours, or a twin's."""
    tables, refused = list[pa.Table](), list[Refusal]()
    rows = text_bytes = 0
    for batch in read_rows(partition, schema.of_documents, unreadable=unreadable):
        rows += batch.num_rows
        text_bytes += batch.texts.nbytes
        tables.append(_keys_of(batch, schema, numbers, partition.number))
        refused += batch.refused
    told = _account(rows, text_bytes, refused, numbers)
    tables.append(_refused_keys(refused, schema.key_type, numbers, partition.number))
    if refused:
        told = replace(told, quarantine=_publish_quarantine(folder, quarantine_name(version, partition), refused))
    keys = pa.concat_tables(tables)
    _publish(folder, scan_name(version, partition), keys, buckets, told)
    return step_receipt(partition, scan_name(version, partition), rows_in=rows, rows_refused=told.rows_refused)


def _keys_of(batch: RowBatch, schema: RowSchema, numbers: Mapping[str, int], part: int) -> pa.Table:
    kept = [name for _, name, _ in schema.kept]
    digests = pa.Array.from_buffers(pa.binary(16), len(batch.texts), [None, pa.py_buffer(_digests(batch, schema))])
    values = pa.table([*batch.kept[: len(kept)]], names=kept) if kept else pa.table({"": batch.ids})
    files = np.full(len(batch.ids), -1, np.int32)
    for origin in batch.origins:
        files[(batch.rows >= origin.ordinal) & (batch.rows < origin.ordinal + origin.num_rows)] = numbers[origin.file]
    arrays = [batch.ids, digests, meta_hash(values, kept), *map(pa.array, (files, np.full(len(files), part, np.int32), batch.rows.astype(np.int32)))]
    return pa.Table.from_arrays(arrays, schema=scan_schema(batch.ids.type))


def _digests(batch: RowBatch, schema: RowSchema) -> bytes:
    return bytes.fromhex("".join(hash_documents(batch, schema).to_pylist())) if schema.is_chunked else bytes(digest_each(batch.texts))


def _refused_keys(refused: Iterable[Refusal], id_type: pa.DataType, numbers: Mapping[str, int], part: int) -> pa.Table:
    """Refused rows whose id is known, with no hashes."""
    found = [(each, identity) for each in refused if (identity := _identity(each, id_type)) is not None]
    columns = {
        "id": pa.array([identity for _, identity in found], id_type),
        "text_hash": pa.nulls(len(found), pa.binary(16)),
        "meta_hash": pa.nulls(len(found), pa.binary(8)),
        "file": pa.array([numbers[each.file] for each, _ in found], pa.int32()),
        "part": pa.array([part] * len(found), pa.int32()),
        "row": pa.array([each.row for each, _ in found], pa.int32()),
    }
    return pa.table(columns, schema=scan_schema(id_type))


def _identity(refusal: Refusal, id_type: pa.DataType) -> str | int | None:
    """Its id, as the dataset has ids; None where that is not known."""
    if refusal.id is None or pa.types.is_string(id_type):
        return refusal.id
    try:
        return int(refusal.id)
    except ValueError:
        return None


def _account(rows: int, text_bytes: int, refused: Sequence[Refusal], numbers: Mapping[str, int]) -> ScanTotals:
    by_file: Counter[int] = Counter()
    for each in refused:
        by_file[numbers[each.file]] += each.row_count
    hidden = sorted({numbers[each.file] for each in refused if each.id is None})
    return ScanTotals(rows, sum(by_file.values()), text_bytes, dict(by_file), tuple(hidden))


def _publish_quarantine(folder: Folder, name: str, refused: Sequence[Refusal]) -> str:
    with QuarantineWriter(folder.temporary(name)) as writer:
        writer.add(sorted(refused, key=lambda each: each.row))
        writer.close({})
        with contextlib.suppress(AlreadyExists):
            folder.publish(writer.path, name)
    return name


def _publish(folder: Folder, name: str, keys: pa.Table, buckets: int, told: ScanTotals) -> None:
    """keys: in row order, and in each bucket they stay so."""
    order = np.argsort(keys.column("row").to_numpy(), kind="stable")
    keys = keys.take(pa.array(order))
    of = bucket_of(keys.column("id"), buckets)
    order = np.argsort(of, kind="stable")
    bounds = np.searchsorted(of[order], np.arange(buckets + 1))
    keys = keys.take(pa.array(order)).combine_chunks()
    path = folder.temporary(name)
    try:
        with open_step_writer(path, keys.schema) as writer:
            for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
                writer.write_table(keys.slice(start, end - start), row_group_size=max(1, end - start))
            writer.add_key_value_metadata({TOLD.decode(): told.to_json().decode()})
        with contextlib.suppress(AlreadyExists):
            folder.publish(path, name)
    finally:
        path.unlink(missing_ok=True)


def open_step_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, schema, version="2.6", compression="zstd", compression_level=1, write_page_checksum=True, use_dictionary=False)


def read_totals(folder: Folder, name: str) -> ScanTotals:
    """Of a published scan. Damaged where it is none."""
    with folder.open(name) as file, open_parquet(file) as parquet:
        return _totals_of(parquet, name)


def read_scans(folder: Folder, names: Iterable[str], buckets: Sequence[int]) -> Iterator[tuple[ScanTotals, list[pa.Table]]]:
    """Of each scan, in corpus order: its totals, and these buckets of it. Each is opened once. Damaged where one is none."""
    for name in names:
        with folder.open(name) as file, open_parquet(file) as parquet:
            yield _totals_of(parquet, name), [parquet.read_row_group(bucket, use_threads=False) for bucket in buckets]


def _totals_of(parquet: pq.ParquetFile, name: str) -> ScanTotals:
    try:
        return ScanTotals.from_json(parquet.metadata.metadata[TOLD])
    except (KeyError, TypeError, ValueError) as error:
        raise Damaged(f"{name}: its footer does not say what was scanned: {error}") from error
