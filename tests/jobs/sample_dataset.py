"""A small plan, partitions and rows, for the tests of everything that writes or reads a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.rows import Refusal, RowBatch, RowSchema
from embermill.jobs.engine import Embedded, Output
from embermill.jobs.partition import Partition, Segment
from embermill.jobs.plan.files import Plan
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import Folder, open_folder

DIM = 4
PROVENANCE = {"worker": "test"}
SHARD = "data/part-000000000-000-00000000.parquet"  # the first of the first partition
QUARANTINE = "quarantine/part-000000000-000-00000000.parquet"


def files(root: Path) -> list[str]:
    """Every file below it, by its path there."""
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def make_plan(
    partitions: int = 3,
    *,
    dim: int = DIM,
    rows_per_shard: int = 100,
    id_type: pa.DataType | None = None,
    kept: Sequence[tuple[str, str, pa.DataType]] = (("lang", "lang", pa.string()),),
    fingerprint: dict[str, str] | None = None,
    rows: int = 250,
    tells_versions: bool = False,
) -> Plan:
    """rows: input rows of each partition."""
    id_type = id_type or pa.string()
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), dim)
    schema = pa.schema(
        [
            pa.field("id", id_type, nullable=False),
            pa.field("embedding", vector, nullable=False),
            pa.field("num_tokens", pa.int32(), nullable=False),
            pa.field("num_tokens_dropped", pa.int32(), nullable=False),
            pa.field("text_hash", pa.string(), nullable=False),
            *([pa.field("version", pa.int64(), nullable=False)] if tells_versions else []),
            *(pa.field(name, kind) for _, name, kind in kept),
        ]
    )
    return Plan(
        fingerprint=fingerprint or {"model.weights": "abc", "model.max_tokens": "256"},
        config={},
        rows=RowSchema("id", "id", id_type, ("text",), "\n", tuple(kept), 1 << 24, "fail"),
        outputs=(Output("embedding", "dense", "float32", dim),),
        schema=schema,
        rows_per_shard=rows_per_shard,
        partitions=tuple(make_partition(number, rows) for number in range(partitions)),
        device_kind="cpu",
        precision="float32",
        id_stability="column",
        listing=(
            {"path": "/corpus/a.parquet", "name": "a.parquet", "size": 1000, "version": "1", "format": "parquet", "compression": None,
             "rows": None, "error": ""},
        ),
        tells_versions=tells_versions,
    )


def make_partition(number: int, rows: int = 250) -> Partition:
    segment = Segment("/corpus/a.parquet", "a.parquet", "parquet", None, 1000, "1", "rows", number * rows, number * rows + rows)
    return Partition(number, f"{number:02x}" * 8, (segment,), 1000)


def make_batch(first_row: int, rows: int, *, prefix: str = "doc", refused: Sequence[Refusal] = (), id_type: pa.DataType | None = None) -> RowBatch:
    """Rows [first_row, first_row + rows) of a partition, without those that `refused` stands for."""
    gone = {row for refusal in refused for row in range(refusal.row, refusal.row + refusal.row_count)}
    numbers = [row for row in range(first_row, first_row + rows) if row not in gone]
    ids = pa.array(numbers, id_type) if id_type is not None and pa.types.is_integer(id_type) else pa.array([f"{prefix}-{n}" for n in numbers], pa.string())
    texts = pa.array([f"text of {prefix} {n} " + "é" * (n % 5) for n in numbers], pa.string())
    lang = pa.array([None if n % 7 == 0 else ("en", "de")[n % 2] for n in numbers], pa.string())
    return RowBatch(first_row, rows, np.array(numbers, np.int64), ids, texts, (lang,), tuple(refused))


def embed(batch: RowBatch, dim: int = DIM) -> Embedded:
    """Vectors that follow from the row, of length 1."""
    vectors = np.cos(np.arange(dim)[None, :] + batch.rows[:, None]).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    num_tokens = (batch.rows % 50 + 3).astype(np.int32)
    return Embedded({"embedding": vectors}, num_tokens, (batch.rows % 10 == 9).astype(np.int32))


def refuse(row: int, row_count: int = 1, reason: str = "invalid_utf8") -> Refusal:
    return Refusal(row, row_count, None, "/corpus/a.parquet", row, None, reason, "byte 0xff at 3", None)


def batches_of(rows: int, batch_rows: int, first_row: int = 0, refused: Sequence[Refusal] = (), prefix: str = "doc") -> Iterator[RowBatch]:
    for start in range(first_row, first_row + rows, batch_rows):
        count = min(batch_rows, first_row + rows - start)
        yield make_batch(start, count, prefix=prefix, refused=[r for r in refused if start <= r.row < start + count])


def write_shard(
    folder: Folder, plan: Plan, number: int = 0, ordinal: int = 0, *, rows: int = 100, last: bool = True, refused: Sequence[Refusal] = (), batch_rows: int = 32
) -> Receipt:
    with ShardWriter(folder, plan, plan.partitions[number], ordinal) as writer:
        for batch in batches_of(rows, batch_rows, ordinal * plan.rows_per_shard, refused, prefix=f"p{number}"):
            writer.write(batch, embed(batch) if len(batch.ids) else None)
        return writer.finish(last, PROVENANCE)


def write_dataset(root: Path, plan: Plan, *, rows: int = 250) -> list[Receipt]:
    """Every partition of the plan, `rows` input rows each, two of them refused."""
    receipts, folder = [], open_folder(str(root))
    for number in range(len(plan.partitions)):
        for start in range(0, rows, plan.rows_per_shard):
            ordinal, count = start // plan.rows_per_shard, min(plan.rows_per_shard, rows - start)
            refused = [refuse(3), refuse(5)] if ordinal == 0 else []
            receipts.append(write_shard(folder, plan, number, ordinal, rows=count, last=start + count == rows, refused=refused))
    return receipts
