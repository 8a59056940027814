from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.jobs.dataset.metadata.id_hash import bucket_of, hash_ids
from embermill.jobs.dataset.metadata.keys import (
    KeyRange,
    all_live_keys,
    buckets_for,
    buckets_of,
    deleted_keys,
    digest_text_hashes,
    keys_of_rows,
    keys_schema,
    live_keys,
    newest_keys,
    parse_keys_name,
    publish_keys,
    read_bucket,
    split_by_bucket,
)
from embermill.jobs.dataset.metadata.versions import COMMITTED, Version, VersionFile
from embermill.jobs.errors import DataError
from embermill.jobs.shard.text_hash import hash_texts
from tests.jobs.stores.memory import MemoryFolder

IDS = st.one_of(st.text(max_size=24), st.integers(0, 30).map(str), st.integers(250, 260).map("x".__mul__))


def keys(ids: list[str] | list[int], version: int = 1, shard: int = 0) -> pa.Table:
    kind = pa.int64() if ids and isinstance(ids[0], int) else pa.string()
    texts = pa.array([f"text {each} of {version}" for each in ids], pa.string())
    rows = pa.table({"id": pa.array(ids, kind), "text_hash": hash_texts(texts), "lang": pa.array(["en"] * len(ids), pa.string())})
    return keys_of_rows(rows, id_name="id", kept=["lang"], files=3, shard=shard, first_row=10, version=version)


def publish(folder: MemoryFolder, version: int, table: pa.Table, buckets: int, first_file: int, ranges: int = 1) -> tuple[VersionFile, ...]:
    by_bucket, width = split_by_bucket(table, buckets), buckets // ranges
    found = []
    for number in range(ranges):
        place = KeyRange(version, number * width, (number + 1) * width, buckets)
        inside = {bucket: part for bucket, part in by_bucket.items() if place.first <= bucket < place.end}
        found.append(publish_keys(folder, place, inside, table.schema.field("id").type, first_file + number))
    return tuple(found)


def version_of(*files: VersionFile) -> Version:
    return Version(9, 1, COMMITTED, "sync", "", {}, {}, files)


def test_hashes_of_ids_are_frozen() -> None:
    """They say in which bucket of a stored file an id is."""
    assert hash_ids(pa.array(["", "a", "doc-1", "é" * 9])).tolist() == FROZEN
    assert hash_ids(pa.array([0, 1, -1, 2**62])).tolist() == FROZEN_INTEGERS


FROZEN = [16294208416658607535, 4419428628419185419, 12820910841977818066, 15982364728972432824]
FROZEN_INTEGERS = [16294208416658607535, 10451216379200822465, 16490336266968443936, 47939714376772075]


@given(st.lists(IDS, max_size=30), st.integers(0, 30), st.sampled_from([1, 2, 64, 1 << 16]))
def test_an_id_is_in_one_bucket_however_it_comes(ids: list[str], cut: int, buckets: int) -> None:
    whole = bucket_of(pa.array(ids, pa.string()), buckets)
    assert ((whole >= 0) & (whole < buckets)).all()
    large = pa.array(["before", *ids], pa.large_string()).slice(1)
    chunked = pa.chunked_array([pa.array(ids[:cut], pa.string()), pa.array(ids[cut:], pa.string())])
    assert (bucket_of(large, buckets) == whole).all() and (bucket_of(chunked, buckets) == whole).all()
    assert [int(bucket_of(pa.array([each], pa.string()), buckets)[0]) for each in ids] == whole.tolist()


@pytest.mark.parametrize("ids", [pa.array(range(100_000)), pa.array([f"doc-{n}" for n in range(100_000)])], ids=["integers", "strings"])
def test_ids_that_count_up_fill_all_buckets_alike(ids: pa.Array) -> None:
    counts = np.bincount(bucket_of(ids, 64), minlength=64)
    assert counts.min() > 1300 and counts.max() < 1850


def test_buckets_grow_with_the_rows() -> None:
    assert [buckets_for(rows) for rows in (0, 1, 500_000, 500_001, 10**7, 10**8)] == [1, 1, 1, 2, 32, 256]


def test_the_digits_of_a_text_hash_become_its_bytes() -> None:
    hashes = hash_texts(pa.array(["a", "b", "c"]))
    expected = [bytes.fromhex(each) for each in hashes.to_pylist()]
    assert digest_text_hashes(hashes).to_pylist() == expected and digest_text_hashes(hashes.slice(1)).to_pylist() == expected[1:]
    assert digest_text_hashes(pa.chunked_array([hashes.slice(0, 1), hashes.slice(1)])).to_pylist() == expected


def test_rows_know_their_version_or_are_told() -> None:
    rows = pa.table({"id": ["a"], "text_hash": hash_texts(pa.array(["t"])), "version": pa.array([7], pa.int64())})
    told = [keys_of_rows(rows, id_name="id", kept=[], files=np.array([2]), shard=1, first_row=0, version=each) for each in (None, 9)]
    assert [table.column("version").to_pylist() for table in told] == [[7], [9]] and told[0].column("file").to_pylist() == [2]


@pytest.mark.parametrize("ids", [["b", "a", "ä", "", "z" * 300], [5, -1, 2**40, 3, 0]])
@pytest.mark.parametrize(("buckets", "ranges"), [(1, 1), (8, 2)])
def test_what_was_published_is_read_bucket_by_bucket(ids: list[str] | list[int], buckets: int, ranges: int) -> None:
    folder, table = MemoryFolder(), keys(ids)
    files = publish(folder, 2, table, buckets, 4, ranges)
    assert [file.number for file in files] == [4, 5][:ranges] and sum(file.rows for file in files) == 5
    version, id_type = version_of(*files), table.schema.field("id").type
    assert buckets_of(version) == buckets
    found = pa.concat_tables([part for _, part in all_live_keys(folder, version, id_type)])
    assert found.sort_by("id").equals(table.sort_by("id"))
    for bucket in range(buckets):
        part = live_keys(folder, version, bucket, id_type)
        assert part.equals(part.sort_by("id")) and (bucket_of(part.column("id"), buckets) == bucket).all()
    place = parse_keys_name(files[0].name)
    assert place is not None and place.name == files[0].name and parse_keys_name("data/part.parquet") is None


def test_the_same_keys_in_any_order_are_the_same_file() -> None:
    table, shuffled = keys([f"id-{n}" for n in range(50)]), [*range(50)]
    random.Random(1).shuffle(shuffled)
    one, other = MemoryFolder(), MemoryFolder()
    assert publish(one, 2, table, 4, 0) == publish(other, 2, table.take(shuffled), 4, 0) and one.files == other.files
    assert publish(one, 2, table, 4, 0) == publish(other, 2, table, 4, 0), "published again"
    with pytest.raises(DataError, match="it holds other keys"):
        publish(one, 2, keys(["id-1"]), 4, 0)


def test_a_file_holds_a_row_group_for_each_bucket_and_half_of_the_digits() -> None:
    folder = MemoryFolder()
    (file,) = publish(folder, 2, keys([f"document-{n:09d}" for n in range(20_000)]), 4, 0)
    assert pq.read_metadata(folder.open(file.name)).num_row_groups == 4
    assert file.bytes / file.rows < 21, "of which 16 are the hash; the metadata hash here is the same in all rows"


@pytest.mark.parametrize("how", ["gone", "torn", "foreign"])
def test_a_damaged_key_file_is_named_with_what_helps(how: str) -> None:
    folder = MemoryFolder()
    (file,) = publish(folder, 2, keys(["a", "b"]), 1, 0)
    if how == "gone":
        del folder.files[file.name]
    elif how == "torn":
        folder.files[file.name] = folder.files[file.name][:-20]
    else:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"id": ["a"], "x": [1]}), sink)
        folder.files[file.name] = sink.getvalue().to_pybytes()
    with pytest.raises(DataError, match=r"(?s)keys-00000-00001-of-00001\.pq: .*`embermill repair` rebuilds it"):
        read_bucket(folder, file, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=8, unique_by=lambda each: each[0]), min_size=1, max_size=6))
def test_of_each_id_the_newest_counts(versions: list[list[tuple[int, bool]]]) -> None:
    """versions: of each, (id, whether it is deleted) of what it changes."""
    model: dict[str, int] = {}
    tables = []
    for number, changes in enumerate(versions, 1):
        gone = [str(each) for each, deleted in changes if deleted and number > 1]
        written = [str(each) for each, deleted in changes if not (deleted and number > 1)]
        tables.append(pa.concat_tables([keys(written, number, number), deleted_keys(pa.array(gone, pa.string()), number)]))
        model = {each: version for each, version in model.items() if each not in gone} | dict.fromkeys(written, number)
    found = newest_keys(tables, pa.string())
    assert found.schema.equals(keys_schema(pa.string()))
    assert dict(zip(found.column("id").to_pylist(), found.column("version").to_pylist(), strict=True)) == model and found.num_rows == len(model)
