"""The quarantine: rows and ranges that cannot be embedded, each with its position and a reason, in a Parquet file beside their shard."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from embermill.counts import several
from embermill.jobs.bookkeeping.seal import BLANK_SEAL, seal
from embermill.jobs.corpus.rows import Refusal
from embermill.jobs.shard.contents import Damaged, Source, check_schema, open_parquet, row_groups
from embermill.jobs.shard.footer import Footer

REASONS = (
    "null_id",
    "null_text",  # every text column is null
    "invalid_utf8",
    "text_too_long",  # above corpus.max_text_bytes
    "row_too_large",  # id and kept columns
    "binary_file",  # a file that is a document, and holds a NUL
    "unparsable_line",
    "column_type",  # a value that the column's type cannot hold without loss
    "uncastable",  # corpus.on_schema_drift: cast, and this value cannot be cast
    "corrupt_row_group",  # one entry with its range
    "unreadable_file",  # corpus.on_bad_file: quarantine; one entry, counted as one row
    "text_over_limit",  # model.on_long_text: error
    "not_cut",  # model.on_long_text: split, and the document cannot be cut (chunk.on_blob: refuse, spans of chunk.splitter that are none)
    "duplicate_id",  # of a sync: the id occurs earlier in the corpus
    "encoder_failed",  # the poison row that is left when a failing batch is halved again and again
)

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("file", pa.string(), nullable=False),
        pa.field("first_row", pa.int64()),
        pa.field("first_byte", pa.int64()),
        pa.field("row_count", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("text_bytes", pa.int64()),
    ]
)

ENTRIES_PER_ROW_GROUP = 16_384  # fixed, so that the bytes do not depend on how refusals arrive; a few MiB
MAX_ERROR_CHARACTERS = 1_000


class QuarantineWriter:
    """Writes one quarantine file; memory holds one row group of it. The file appears with the first entry."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = 0
        self.rows = 0  # an entry may stand for a range of rows
        self._buffer: list[Refusal] = []
        self._parquet: pq.ParquetWriter | None = None

    def add(self, refusals: Sequence[Refusal]) -> None:
        for refusal in refusals:
            if refusal.reason not in REASONS:
                raise ValueError(f"quarantine reason {refusal.reason!r} is none of {', '.join(REASONS)}")
            self._buffer.append(refusal)
            self.entries += 1
            self.rows += refusal.row_count
            if len(self._buffer) == ENTRIES_PER_ROW_GROUP:
                self._flush()

    def close(self, footer: dict[str, str]) -> None:
        """Write what is left and the footer's keys. Call it only where `entries` is not 0."""
        self._flush()
        assert self._parquet is not None, "a quarantine file without entries is never written"
        self._parquet.add_key_value_metadata(footer | BLANK_SEAL)
        self._parquet.close()
        self.path.write_bytes(seal(self.path.read_bytes()))
        self._parquet = None

    def abandon(self) -> None:
        """Remove what was written; safe to call at any time."""
        if self._parquet is not None:
            with contextlib.suppress(OSError, pa.ArrowException):
                self._parquet.close()
            self._parquet = None
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> QuarantineWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.abandon()

    def _flush(self) -> None:
        if not self._buffer:
            return
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self.path, SCHEMA, version="2.6", compression="zstd", compression_level=1, write_page_checksum=True)
        self._parquet.write_table(to_table(self._buffer), row_group_size=ENTRIES_PER_ROW_GROUP)
        self._buffer = []


def to_table(refusals: Sequence[Refusal]) -> pa.Table:
    """One row per entry, in the order given."""
    return pa.table(
        {
            "id": [None if r.id is None else _storable(r.id) for r in refusals],
            "file": [_storable(r.file) for r in refusals],
            "first_row": [r.first_row for r in refusals],
            "first_byte": [r.first_byte for r in refusals],
            "row_count": [r.row_count for r in refusals],
            "reason": [r.reason for r in refusals],
            "error": [_storable(r.error)[:MAX_ERROR_CHARACTERS] for r in refusals],
            "text_bytes": [r.text_bytes for r in refusals],
        },
        schema=SCHEMA,
    )


def first_entry(source: Source) -> dict[str, Any] | None:
    """The first entry, by the names of SCHEMA; None where there is none. Raises Damaged."""
    with open_parquet(source) as parquet:
        check_schema(parquet.schema_arrow, SCHEMA)
        for batch in parquet.iter_batches(1):
            return dict(batch.to_pylist()[0])
    return None


def read_reasons(source: Source) -> set[str]:
    """The reasons that occur. Raises Damaged."""
    with open_parquet(source) as parquet:
        check_schema(parquet.schema_arrow, SCHEMA)
        return {reason for table in row_groups(parquet, ["reason"]) for reason in pc.unique(table.column("reason")).to_pylist()}


def _storable(text: str) -> str:
    """File names and broken text may hold lone surrogates, which are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class QuarantineContents:
    """A quarantine file read back. key_digest: of everything but the wording of errors, in order."""

    footer: Footer | None
    entries: int
    rows: int
    key_digest: str


def read_quarantine(source: Source) -> QuarantineContents:
    """Read all of it, checksums verified. Raises Damaged."""
    entries = rows = 0
    digest = hashlib.blake2b(digest_size=16)
    with open_parquet(source) as parquet:
        check_schema(parquet.schema_arrow, SCHEMA)
        for table in row_groups(parquet):
            table.validate(full=True)
            entries += table.num_rows
            rows += pc.sum(table.column("row_count")).as_py() or 0
            for entry in table.select(["id", "file", "first_row", "first_byte", "row_count", "reason"]).to_pylist():
                digest.update(json.dumps(list(entry.values())).encode())
        contents = QuarantineContents(Footer.from_metadata(parquet.metadata.metadata), entries, rows, digest.hexdigest())
    if contents.footer is not None and contents.footer.rows_quarantined != rows:
        raise Damaged(f"it refuses {several(rows, 'row')}, its footer says {contents.footer.rows_quarantined}")
    return contents
