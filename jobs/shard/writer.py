"""ShardWriter: rows in, one published Parquet shard and its quarantine file out, and the Receipt that says so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.counts import several
from embermill.jobs.corpus.rows import TEXT, UUID, Refusal, RowBatch
from embermill.jobs.corpus.uuids import derived_uuids
from embermill.jobs.engine import Embedded
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import VERSION_COLUMN, Plan
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.answer import check_answer
from embermill.jobs.shard.contents import KeyDigest, RowTally, ShardContents, check_schema, open_parquet, row_groups
from embermill.jobs.shard.file_runs import FileRuns
from embermill.jobs.shard.footer import DATA, QUARANTINE, Footer, make_footer, published_name, told_by_files
from embermill.jobs.shard.publishing import PublishedFile, make_receipt, publish_quarantine, publish_shard
from embermill.jobs.shard.quarantine import QuarantineWriter, read_quarantine
from embermill.jobs.shard.row_group import RowGroupBuffer
from embermill.jobs.shard.row_group_file import RowGroupFile
from embermill.jobs.shard.text_hash import hash_texts
from embermill.jobs.storage import Folder, naming_file

HashAll = Callable[[pa.Array], pa.Array]
"""Strings [N] -> text_hash of each, as hash_texts."""
GROUPS_AT_A_TIME = 4  # row groups of a shard that are encoded side by side; each is in memory until it is in the file


class ShardWriter:
    """Writes shard `ordinal` of a partition: input rows [ordinal * rows_per_shard, (ordinal + 1) * rows_per_shard), refused ones included.

    Of chunks it closes at the end of a document, so where it begins follows from the shards before it.
    Memory is bounded by one row group. Nothing appears in the dataset before `finish`. Leaving its `with` block without that removes what was written.
    """

    def __init__(
        self, folder: Folder, plan: Plan, partition: Partition, ordinal: int, *, encoders: Executor | None = None, hash_all: HashAll = hash_texts
    ) -> None:  # fmt: skip
        """encoders: threads that encode row groups beside whoever writes; the file is the same. hash_all: as hash_texts, somewhere else."""
        self.folder, self.plan, self.partition, self.ordinal = folder, plan, partition, ordinal
        self.first_row = ordinal * plan.rows_per_shard
        self.end_row = self.first_row + plan.rows_per_shard
        self.next_row = self.first_row
        self._temporary = folder.temporary(published_name(plan, DATA, partition, ordinal))
        self._encoders, self._hash_all = encoders, hash_all
        self._parquet: pq.ParquetWriter | RowGroupFile | None = None
        self._groups = RowGroupBuffer(plan, 1 if encoders is None else GROUPS_AT_A_TIME + 1)
        self._tally = RowTally(plan.rows)
        self._values_clipped = self._unknown_words = 0
        self._files = FileRuns(partition)
        self._quarantine = QuarantineWriter(folder.temporary(published_name(plan, QUARANTINE, partition, ordinal)))

    def write(self, batch: RowBatch, embedded: Embedded | None) -> None:
        """Take the next input rows, in order. embedded: of batch.texts; None where every row of the batch was refused.

        Rows that were refused after embedding are taken out of the batch by the caller and stand in batch.refused.
        Raises EngineError, naming the row, for an answer that cannot be stored.
        """
        if not self.plan.rows.is_chunked and (batch.first_row != self.next_row or batch.first_row + batch.num_rows > self.end_row):
            raise ValueError(f"expected rows from {self.next_row}, up to {self.end_row} at most; came {batch.first_row} to {batch.first_row + batch.num_rows}")
        with naming_file(self._temporary):
            self._take(batch, embedded)

    def _take(self, batch: RowBatch, embedded: Embedded | None) -> None:
        rows = len(batch.ids)
        if batch.num_rows != rows + sum(refusal.row_count for refusal in batch.refused):
            raise ValueError(f"a batch of {several(batch.num_rows, 'input row')} holds {rows} and refuses {sum(r.row_count for r in batch.refused)}")
        if rows:
            self._add_rows(batch, embedded)
            self._files.add(batch)
        self._quarantine.add(_in_row_order(batch.refused))
        self.next_row += batch.num_rows

    def flush(self) -> None:
        """No more rows come: the last row group is on its way into the file."""
        with naming_file(self._temporary):
            for table in self._groups.rest():
                self._write_group(table)

    def finish(self, last: bool, provenance: dict[str, str], input_digest: str = "", /) -> Receipt:
        """Close, check, publish (the quarantine file first, then the shard) and account for both. last: no further shard follows in this partition.
        input_digest: of all that was read for it.

        Where another attempt's file stands already it is checked and adopted: the receipt describes what is there.
        Raises DataError where something else is there, Interrupted where it is torn (it is set aside when the job is run again).
        """
        self.flush()
        footer = make_footer(
            self.plan,
            self.partition,
            self.ordinal,
            rows_out=self._tally.rows,
            rows_quarantined=self._quarantine.rows,
            last=last,
            input_digest=input_digest if self.plan.holds_input_digests else "",
            files=self._files.to_json() if self.plan.tells_versions else "",
            values_clipped=self._values_clipped,
            unknown_words=self._unknown_words,
        )
        written = self._tally.contents(footer)
        with naming_file(self._temporary):
            quarantine, refused_before = self._publish_quarantine(footer) if self._quarantine.entries else (None, False)
            shard, contents, written_before = self._publish_shard(written) if written.rows else (None, written, refused_before)
        self.abandon()
        ours = contents is written  # bytes that we did not make have a history that we do not know
        return make_receipt(footer, contents, shard, quarantine, adopted=written_before, provenance=provenance if ours else {})

    def abandon(self) -> None:
        """Remove what was written and not published; safe to call at any time."""
        if self._parquet is not None:
            with contextlib.suppress(OSError, pa.ArrowException):  # closing writes, which a full disk refuses once more
                self._parquet.close()
            self._parquet = None
        self._temporary.unlink(missing_ok=True)
        self._quarantine.abandon()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.abandon()

    def _add_rows(self, batch: RowBatch, embedded: Embedded | None) -> None:
        if embedded is None:
            raise ValueError(f"a batch of {several(len(batch.ids), 'text')} came without what the engine made of them")
        answer = check_answer(embedded, batch, self.plan, self.partition)
        self._values_clipped += answer.values_clipped
        columns = {
            self.plan.rows.id_name: batch.ids,
            "num_tokens": pa.array(answer.num_tokens),
            "num_tokens_dropped": pa.array(answer.num_tokens_dropped),
            "text_hash": self._hash_all(batch.texts),
        }
        if self.plan.tells_versions:
            columns[VERSION_COLUMN] = pa.array(np.full(len(batch.ids), self.plan.version, np.int64))
        if self.plan.rows.derives_uuid:
            columns[UUID] = derived_uuids(batch.ids)
        if self.plan.rows.holds_text:
            columns[TEXT] = batch.texts
        if batch.chunks is not None:
            columns |= batch.chunks.columns
            self._unknown_words += int(batch.chunks.unknown_words.sum(dtype=np.int64))
        columns |= {name: values for (_, name, _), values in zip(self.plan.rows.kept, batch.kept, strict=True)}
        for table in self._groups.add(columns, answer.vectors):
            self._write_group(table)

    def _write_group(self, table: pa.Table) -> None:
        if self._parquet is None:
            self._parquet = self._open_parquet()
        self._parquet.write_table(table, row_group_size=table.num_rows)
        self._tally.add(table)

    def _open_parquet(self) -> pq.ParquetWriter | RowGroupFile:
        if self._encoders is None:
            return open_writer(self._temporary, self.plan)
        return RowGroupFile(self._temporary, self._open_part, column_runs(self.plan), self._encoders, GROUPS_AT_A_TIME)

    def _open_part(self, sink: pa.NativeFile, columns: Sequence[str]) -> pq.ParquetWriter:
        return open_writer(sink, self.plan, columns)

    def _publish_quarantine(self, footer: Footer) -> tuple[PublishedFile, bool]:
        self._quarantine.close(footer.to_metadata())
        written = read_quarantine(self._quarantine.path)
        if written.footer != footer or written.entries != self._quarantine.entries:
            raise RuntimeError(f"{self._quarantine.path} reads back other than it was written: {written.entries} entries instead of {self._quarantine.entries}")
        return publish_quarantine(self.folder, self.plan, self.partition, self._quarantine.path, written)

    def _publish_shard(self, written: ShardContents) -> tuple[PublishedFile, ShardContents, bool]:
        assert self._parquet is not None and written.footer is not None
        self._parquet.add_key_value_metadata(written.footer.to_metadata())
        self._parquet.close()
        self._parquet = None
        check_written(self._temporary, self.plan, written)
        return publish_shard(self.folder, self.plan, self.partition, self._temporary, written)


def column_runs(plan: Plan) -> list[list[str]]:
    """The plan's columns in their order. Where several are of vectors, each of them is a run by itself: they are most of the work."""
    vectors = {vector.column for vector in plan.stored} if len(plan.stored) > 1 else set[str]()
    runs: list[list[str]] = []
    for name in plan.schema.names:
        if runs and not vectors & {name, runs[-1][-1]}:
            runs[-1].append(name)
        else:
            runs.append([name])
    return runs


def open_writer(path: Path | pa.NativeFile, plan: Plan, columns: Sequence[str] = ()) -> pq.ParquetWriter:
    """The dataset's writer settings: float32 byte-stream split, codes in dictionaries, vectors without statistics; checksums on every page.
    columns: of the plan's, in their order; (): all.

    Portable ones are plain: no Arrow schema, so that vectors are lists to every reader, PLAIN and dictionary pages, Snappy.
    """
    vectors = {vector.column for vector in plan.stored}
    codes = {vector.column for vector in plan.stored if vector.numpy_type in (np.int8, np.uint8)}  # Parquet stores them in 32 bits, but for a dictionary
    holds_text = plan.rows.holds_text or plan.rows.holds_chunk_text
    unique = {plan.rows.id_name, "text_hash", *([UUID] if plan.rows.derives_uuid else []), *([TEXT] if holds_text else [])}
    schema = pa.schema([plan.schema.field(name) for name in columns], plan.schema.metadata) if columns else plan.schema
    names = schema.names
    floats = {vector.column for vector in plan.stored if vector.numpy_type is np.float32}  # DuckDB reads no half-precision numbers that are split
    split = [] if plan.is_portable else [f"{name}.list.element" for name in names if name in floats]
    writer = pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        data_page_version="1.0",
        compression="snappy" if plan.is_portable else "zstd",
        compression_level=None if plan.is_portable else 1,
        use_dictionary=[f"{name}.list.element" if name in codes else name for name in names if name in codes or name not in vectors | unique],
        use_byte_stream_split=split or False,
        write_statistics=[name for name in names if name not in vectors and not (name == TEXT and holds_text)],
        write_page_checksum=True,
        store_schema=not plan.is_portable,
    )
    if said := told_by_files(plan):
        writer.add_key_value_metadata(said)
    return writer


def check_written(path: Path, plan: Plan, written: ShardContents) -> None:
    """Open it again: schema, footer, row count, ids and text hashes are those that went in."""
    keys = KeyDigest()
    with open_parquet(path) as parquet:
        check_schema(parquet.schema_arrow, plan.schema)
        for table in row_groups(parquet, [plan.rows.id_name, "text_hash"]):
            keys.add(table.column(plan.rows.id_name), table.column("text_hash"))
        found = (Footer.from_metadata(parquet.metadata.metadata), parquet.metadata.num_rows, keys.hexdigest())
    if found != (written.footer, written.rows, written.key_digest):
        raise RuntimeError(f"{path} reads back other than it was written: {several(found[1], 'row')} instead of {written.rows}, or other ids")


def _in_row_order(refusals: Sequence[Refusal]) -> list[Refusal]:
    return sorted(refusals, key=lambda refusal: refusal.row)
