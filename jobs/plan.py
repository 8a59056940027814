"""The plan: written once, immutable. Partitions, output schema, semantic fingerprint; what was `auto` is resolved here."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from jobs.engine import Output
from jobs.partition import Partition

PLAN_FORMAT = 1


@dataclass(frozen=True)
class RowSchema:
    """How rows of the corpus become rows of the dataset; pinned, the same for every file and shard.

    id_column: None means positional ids, PATH:POSITION. kept: (source column, name in the output, type).
    """

    id_name: str
    id_column: str | None
    id_type: pa.DataType
    text_columns: tuple[str, ...]
    text_separator: str
    kept: tuple[tuple[str, str, pa.DataType], ...]
    max_text_bytes: int
    on_schema_drift: str


@dataclass(frozen=True)
class Plan:
    """root.json and segments.parquet of one generation.

    fingerprint: the engine's, semantic; config: the configuration keys it was made from (resolved), for the message when they differ.
    schema: of every shard. rows_per_shard: input rows, refused ones included. device_kind, precision: what `auto` became.
    """

    fingerprint: dict[str, str]
    config: dict[str, object]
    rows: RowSchema
    outputs: tuple[Output, ...]
    schema: pa.Schema
    rows_per_shard: int
    partitions: tuple[Partition, ...]
    device_kind: str
    precision: str
    id_stability: str  # "column" or "positional"
    listing: tuple[dict[str, object], ...]  # one entry per input file: path, size, version, format, rows (None where unknown)
