"""A shard as it is written: what it holds, what its receipt accounts for, and what stays behind when writing fails: nothing."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import embermill.jobs.shard.row_group
from embermill.jobs.engine import Embedded
from embermill.jobs.errors import EngineError
from embermill.jobs.shard.footer import Footer
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import open_folder
from tests.jobs.sample_dataset import PROVENANCE, QUARANTINE, SHARD, batches_of, embed, files, make_batch, make_plan, refuse, write_shard


def test_a_shard_holds_its_rows_and_the_receipt_accounts_for_them(tmp_path: Path) -> None:
    refused = [refuse(3), refuse(40, row_count=10, reason="corrupt_row_group")]
    receipt = write_shard(open_folder(str(tmp_path)), make_plan(), rows=80, refused=refused)
    assert files(tmp_path) == [SHARD, QUARANTINE]
    assert (receipt.rows_in, receipt.rows_out, receipt.rows_quarantined, receipt.documents, receipt.last, receipt.adopted) == (80, 69, 11, 69, True, False)
    assert (receipt.shard, receipt.quarantine, receipt.first_id, receipt.last_id, receipt.provenance) == (SHARD, QUARANTINE, "p0-0", "p0-79", PROVENANCE)
    table = pq.read_table(tmp_path / SHARD)
    batch = make_batch(0, 80, prefix="p0", refused=refused)
    assert table.column("id").to_pylist() == batch.ids.to_pylist() and table.column("lang").to_pylist() == batch.kept[0].to_pylist()
    assert table.column("embedding").to_pylist() == embed(batch).columns["embedding"].tolist()
    assert receipt.tokens == sum(table.column("num_tokens").to_pylist()) and receipt.tokens_dropped == sum(table.column("num_tokens_dropped").to_pylist())
    assert sum(documents for _, documents in receipt.token_lengths) == 69 and receipt.shard_bytes == (tmp_path / SHARD).stat().st_size


def test_the_files_settings(tmp_path: Path) -> None:
    write_shard(open_folder(str(tmp_path)), make_plan())
    parquet = pq.ParquetFile(tmp_path / SHARD)
    assert parquet.metadata.format_version == "2.6" and parquet.schema_arrow.equals(make_plan().schema, check_metadata=False)
    columns = {parquet.metadata.row_group(0).column(n).path_in_schema: parquet.metadata.row_group(0).column(n) for n in range(6)}
    vector = columns["embedding.list.element"]
    assert "BYTE_STREAM_SPLIT" in vector.encodings and not vector.has_dictionary_page and not vector.is_stats_set
    assert {column.compression for column in columns.values()} == {"ZSTD"} and columns["id"].is_stats_set


def test_the_footer_holds_nothing_of_the_run(tmp_path: Path) -> None:
    write_shard(open_folder(str(tmp_path)), make_plan(), number=2)
    (path,) = (tmp_path / "data").iterdir()
    metadata = pq.read_metadata(path).metadata
    footer = Footer.from_metadata(metadata)
    assert footer is not None and footer.last and (footer.partition, footer.partition_id, footer.first_row) == (2, "02" * 8, 0)
    assert '"model.max_tokens": "256"' in footer.fingerprint and "a.parquet" in footer.segments
    assert PROVENANCE["worker"] not in " ".join(value.decode("utf-8", "replace") for key, value in metadata.items() if key != b"ARROW:schema")


def test_ten_thousand_segments_do_not_make_a_huge_footer(tmp_path: Path) -> None:
    plan = make_plan()
    partition = replace(plan.partitions[0], segments=plan.partitions[0].segments * 10_000)
    with ShardWriter(open_folder(str(tmp_path)), replace(plan, partitions=(partition,)), partition, 0) as writer:
        batch = make_batch(0, 10)
        writer.write(batch, embed(batch))
        writer.finish(True, {})
    footer = Footer.from_metadata(pq.read_metadata(tmp_path / SHARD).metadata)
    assert footer is not None and '"count": 10000' in footer.segments and len(footer.segments) < 200


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8), group_bytes=st.integers(200, 5000))
def test_the_same_rows_give_the_same_bytes_however_they_come(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], group_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embermill.jobs.shard.row_group, "ROW_GROUP_BYTES", group_bytes)
        rows, plan = sum(sizes), make_plan(rows_per_shard=1000)
        refused = [refuse(row) for row in range(0, rows, 9)]
        sums = set()
        for cuts in (sizes, [rows], [1] * rows):
            root, row = tmp_path_factory.mktemp("run"), 0
            with ShardWriter(open_folder(str(root)), plan, plan.partitions[0], 0) as writer:
                for size in cuts:
                    batch = make_batch(row, size, refused=[r for r in refused if row <= r.row < row + size])
                    writer.write(batch, embed(batch) if len(batch.ids) else None)
                    row += size
                receipt = writer.finish(True, {})
            sums.add((receipt.shard_sha256, receipt.quarantine_sha256))
        assert len(sums) == 1


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.int32()])
def test_integer_ids_keep_their_type(tmp_path: Path, kind: pa.DataType) -> None:
    plan = make_plan(id_type=kind)
    with ShardWriter(open_folder(str(tmp_path)), plan, plan.partitions[0], 0) as writer:
        batch = make_batch(0, 20, id_type=kind)
        writer.write(batch, embed(batch))
        receipt = writer.finish(True, {})
    assert pq.read_table(tmp_path / SHARD).schema.field("id").type == kind and (receipt.first_id, receipt.last_id) == ("0", "19")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.timestamp("s"), 5),
        (pa.date64(), 86_400_000),
        (pa.map_(pa.string(), pa.int32()), [("a", 1)]),
        (pa.list_(pa.string()), ["a", None]),
        (pa.float16(), np.float16(1)),
    ],
)
def test_kept_columns_of_any_type_that_parquet_knows(tmp_path: Path, kind: pa.DataType, value: Any) -> None:
    plan = make_plan(kept=[("x", "x", kind)])
    batch = make_batch(0, 3)
    batch = replace(batch, kept=(pa.array([value, None, value], kind),))
    with ShardWriter(open_folder(str(tmp_path)), plan, plan.partitions[0], 0) as writer:
        writer.write(batch, embed(batch))
        writer.finish(True, {})
    stored = pq.read_table(tmp_path / SHARD).column("x")
    assert stored.null_count == 1 and stored.cast(kind).to_pylist() == batch.kept[0].to_pylist()


def test_every_row_refused_makes_a_quarantine_file_and_no_shard(tmp_path: Path) -> None:
    receipt = write_shard(open_folder(str(tmp_path)), make_plan(), rows=20, refused=[refuse(0, row_count=20, reason="corrupt_row_group")])
    assert files(tmp_path) == [QUARANTINE] and (receipt.shard, receipt.rows_in, receipt.rows_quarantined, receipt.documents) == (None, 20, 20, 0)


def test_no_rows_at_all_is_a_receipt_and_no_file(tmp_path: Path) -> None:
    plan = make_plan()
    with ShardWriter(open_folder(str(tmp_path)), plan, plan.partitions[0], 0) as writer:
        receipt = writer.finish(True, {})
    assert files(tmp_path) == [] and (receipt.rows_in, receipt.shard, receipt.quarantine, receipt.last) == (0, None, None, True)


def test_leaving_without_finish_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embermill.jobs.shard.row_group, "ROW_GROUP_BYTES", 100)
    plan = make_plan()
    with pytest.raises(KeyboardInterrupt), ShardWriter(open_folder(str(tmp_path)), plan, plan.partitions[0], 0) as writer:
        for batch in batches_of(50, 10, refused=[refuse(1)]):
            writer.write(batch, embed(batch))
        assert any("tmp" in name for name in files(tmp_path))
        raise KeyboardInterrupt
    assert files(tmp_path) == []


@contextlib.contextmanager
def disk_of(free_bytes: int) -> Iterator[None]:
    """Every file larger than that fails to grow, as on a full disk."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("free_bytes", [0, 100, 1500, 4000, 6000])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    monkeypatch.setattr(embermill.jobs.shard.row_group, "ROW_GROUP_BYTES", 2000)
    folder, plan = open_folder(str(tmp_path)), make_plan()
    with disk_of(free_bytes), pytest.raises(OSError, match="too large"):
        write_shard(folder, plan, refused=[refuse(3)])
    assert files(tmp_path) in ([], [QUARANTINE])
    assert write_shard(folder, plan, refused=[refuse(3)]).rows_out == 99


def bad_vectors(change: Callable[[Embedded], Embedded]) -> Callable[[ShardWriter], None]:
    def write(writer: ShardWriter) -> None:
        batch = make_batch(0, 10, refused=[refuse(2)])
        writer.write(batch, change(embed(batch)))

    return write


def with_vectors(embedded: Embedded, edit: Callable[[np.ndarray], Any]) -> Embedded:
    return replace(embedded, columns={"embedding": edit(embedded.columns["embedding"].copy())})


def poison(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def edit(vectors: np.ndarray) -> np.ndarray:
        vectors[6, 1] = value
        return vectors

    return edit


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: with_vectors(e, poison(np.nan)), r"nan.*row 7 of partition 0 \(id 'doc-7'\)"),
        (lambda e: with_vectors(e, poison(np.inf)), r"inf.*row 7 of partition 0 \(id 'doc-7'\)"),
        (lambda e: with_vectors(e, lambda v: v[:, :3]), r"expected float32 \[9, 4\].*gave float32 \[9, 3\]"),
        (lambda e: with_vectors(e, lambda v: v[:5]), r"\[5, 4\]"),
        (lambda e: with_vectors(e, lambda v: v.astype(np.float64)), "float64"),
        (lambda e: replace(e, columns={"vectors": e.columns["embedding"]}), "no column 'embedding'; it gave vectors"),
        (lambda e: replace(e, num_tokens=e.num_tokens[:3]), r"num_tokens: expected 9 integers"),
        (lambda e: replace(e, num_tokens=e.num_tokens.astype(np.float32)), "float32"),
        (lambda e: replace(e, num_tokens_dropped=e.num_tokens_dropped - 1), r"gave -1 for row 0 of partition 0"),
    ],
)
def test_an_answer_that_cannot_be_stored_names_the_row(tmp_path: Path, change: Callable[[Embedded], Embedded], message: str) -> None:
    plan = make_plan()
    with ShardWriter(open_folder(str(tmp_path)), plan, plan.partitions[0], 0) as writer, pytest.raises(EngineError, match=message):
        bad_vectors(change)(writer)


def test_large_finite_vectors_are_no_overflow(tmp_path: Path) -> None:
    plan, batch = make_plan(), make_batch(0, 10)
    with ShardWriter(open_folder(str(tmp_path)), plan, plan.partitions[0], 0) as writer:
        writer.write(batch, with_vectors(embed(batch), lambda v: np.full_like(v, 3e38)))
        writer.finish(True, {})
    assert pq.read_table(tmp_path / SHARD).num_rows == 10


@pytest.mark.parametrize("batch", [make_batch(5, 5), make_batch(0, 101), replace(make_batch(0, 10), num_rows=11)])
def test_rows_out_of_turn_are_a_defect(tmp_path: Path, batch: Any) -> None:
    plan = make_plan()
    with ShardWriter(open_folder(str(tmp_path)), plan, plan.partitions[0], 0) as writer, pytest.raises(ValueError, match="rows"):
        writer.write(batch, embed(batch))
