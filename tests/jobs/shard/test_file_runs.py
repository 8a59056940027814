"""Which rows of a shard are of which file: told in its footer, however the rows were batched, refused or cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.corpus.rows import Origin
from embermill.jobs.partition import Partition
from embermill.jobs.shard.file_runs import UNKNOWN, FileRuns, distinct_paths, file_numbers
from embermill.jobs.shard.footer import Footer
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import open_folder
from embermill.jobs.worker.cutting import join, split
from tests.jobs.sample_dataset import PROVENANCE, embed, make_batch, make_partition, make_plan, refuse


def two_files() -> Partition:
    partition = make_partition(0)
    other = replace(partition.segments[0], path="/corpus/b.parquet", name="b.parquet")
    return replace(partition, segments=(partition.segments[0], other))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9), st.integers(0, 3)), max_size=8), st.integers(1, 12))
def test_however_the_rows_are_cut(pieces: list[tuple[int, int, int]], cut: int) -> None:
    """pieces: (file, rows, how many of them are refused)."""
    partition, paths, first, batches = two_files(), distinct_paths(two_files()), 0, []
    expected: list[int] = []
    for file, rows, refused in pieces:
        gone = min(refused, rows)
        batch = make_batch(first, rows, refused=[refuse(first, gone)] if gone else [])
        batches.append(replace(batch, origins=(Origin(first, paths[file], None, None, rows),)))
        expected += [file] * (rows - gone)
        first += rows
    runs = FileRuns(partition)
    rest = join(batches) if batches else None
    while rest is not None and rest.num_rows:
        part, rest = split(rest, cut)
        runs.add(part)
    assert file_numbers(runs.to_json(), partition, len(expected), {paths[0]: 0, paths[1]: 1}).tolist() == expected


def test_the_footer_tells_it_where_the_plan_has_versions(tmp_path: Path) -> None:
    old = make_plan(1)
    schema = old.schema.append(pa.field("version", pa.int64(), nullable=False))
    plan = replace(old, schema=schema, partitions=(two_files(),), tells_versions=True, version=7)
    for each, files, names in ((plan, "[[1,20]]", [7] * 20), (old, "", None)):
        folder = open_folder(str(tmp_path / f"v{each.version}"))
        with ShardWriter(folder, each, each.partitions[0], 0) as writer:
            batch = make_batch(0, 20)
            writer.write(replace(batch, origins=(Origin(0, "/corpus/b.parquet", None, None, 20),)), embed(batch))
            receipt = writer.finish(True, PROVENANCE)
        parquet = pq.ParquetFile(f"{folder.root}/{receipt.shard}")
        footer = Footer.from_metadata(parquet.metadata.metadata)
        assert footer is not None and footer.files == files
        assert names is None or parquet.read().column("version").to_pylist() == names


def test_without_it_only_a_partition_of_one_file_is_known() -> None:
    assert file_numbers("", make_partition(0), 2, {"/corpus/a.parquet": 5}).tolist() == [5, 5]
    assert file_numbers("", two_files(), 2, {"/corpus/a.parquet": 5}).tolist() == [UNKNOWN] * 2
    assert file_numbers("[[0,2]]", two_files(), 2, {}).tolist() == [UNKNOWN] * 2
    with pytest.raises(ValueError, match="tells the files of 2 rows"):
        file_numbers("[[0,2]]", two_files(), 3, {})
    assert np.array_equal(file_numbers("[]", two_files(), 0, {}), np.empty(0, np.int32))
