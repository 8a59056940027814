"""Recorded limits: each has a source, each rule finds what is beyond it and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest

from embermill.jobs.errors import UsageError
from embermill.jobs.index.limits import TARGETS, limits_of
from embermill.jobs.index.recorded import SOURCES
from embermill.jobs.index.rules import RULES, Form
from embermill.jobs.index.violations import MAX_NAMED, ViolationCount, find_form_violations, find_violations

CANNOT_RUN_HERE = ("pinecone", "pinecone-jsonl", "milvus-import", "elasticsearch", "opensearch", "weaviate", "vespa", "azure", "s3vectors")
LOADED = ("postgresql", "lancedb", "qdrant", "milvus", "chroma", "faiss", "usearch", "duckdb")


def metadata_of(rows: int, **columns: list[object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns) if columns else pa.RecordBatch.from_pylist([{}] * rows, pa.schema([]))


def find(target: str, ids: pa.Array, vectors: np.ndarray | None = None, **columns: list[object]) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Rule -> (how many, named)."""
    return {found.limit.rule: (found.count, found.named) for found in find_violations(limits_of(target), ids, metadata_of(len(ids), **columns), vectors)}


def test_every_target_and_every_limit_has_what_it_needs() -> None:
    assert set(TARGETS) == {*CANNOT_RUN_HERE, *LOADED}
    for limits in TARGETS.values():
        assert limits.title and limits.limits
        for limit in limits.limits:
            assert limit.rule in RULES and limit.told and "{" not in limit.told.replace("{0,2", "")
            assert limit.source.where and re.fullmatch(r"2026-\d\d-\d\d", limit.source.date)
            assert limit.mark.endswith("unconfirmed") is not limit.source.confirmed
    assert {limit.source.where for limits in TARGETS.values() for limit in limits.limits} == {where for where, _, _ in SOURCES.values()}, "an unused source"


def test_an_unknown_target_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"unknown target 'pinecon': did you mean 'pinecone'\?"):
        limits_of("pinecon")
    with pytest.raises(UsageError, match="expected one of pinecone, "):
        limits_of("xyz")


def test_values_are_looked_up_by_rule() -> None:
    assert limits_of("chroma").value("batch_rows") == 5_461
    assert limits_of("lancedb").value("batch_rows") is None


def test_ids_are_measured_in_characters_or_bytes() -> None:
    ids = pa.array(["a" * 512, "a" * 513, "é" * 256, "é" * 257])
    assert find("pinecone", ids)["id_characters"] == (1, (f"'{'a' * 60}…' (513 characters)",))
    assert find("elasticsearch", ids)["id_bytes"][0] == 2
    assert find("opensearch", ids)["id_bytes"][0] == 2
    assert find("pinecone", ids)["id_ascii"][0] == 2


def test_the_first_ten_are_named_and_all_are_counted_over_batches() -> None:
    count = ViolationCount(limits_of("pinecone"))
    for batch in range(5):
        count.add(pa.array([f"{batch}-{row}-".ljust(600, "x") for row in range(7)]), metadata_of(7))
    (found,) = count.violations
    assert found.count == 35 and len(found.named) == MAX_NAMED and found.is_refused
    assert found.named[0].startswith("'0-0-xxx") and found.named[7].startswith("'1-0-xxx")
    assert str(found).startswith("ids of at most 512 characters (docs.pinecone.io guides/index-data/import-data, 2026-11-27), beyond it: '0-0-")
    assert str(found).endswith(" and 25 more")


def test_what_is_converted_is_told_and_no_violation() -> None:
    for target, ids in (("qdrant", pa.array(["doc-1"])), ("weaviate", pa.array([7])), ("azure", pa.array(["a.b"])), ("faiss", pa.array(["a"]))):
        (found,) = find_violations(limits_of(target), ids, metadata_of(1))
        assert not found.is_refused and str(found).endswith(found.limit.remedy)


def test_ids_that_fit_are_not_converted() -> None:
    uuid = "550e8400-e29b-41d4-a716-446655440000"
    assert not find("qdrant", pa.array([uuid, uuid.upper(), uuid.replace("-", ""), f"urn:uuid:{uuid}"]))
    assert not find("qdrant", pa.array([0, 2**63], pa.uint64()))
    assert find("qdrant", pa.array([0, -1]))["id_uuid"] == (1, ("-1",))
    assert not find("faiss", pa.array([-(2**63), 2**63 - 1]))
    assert find("faiss", pa.array([2**63], pa.uint64()))["id_integer"][0] == 1
    assert not find("usearch", pa.array([2**63], pa.uint64()))
    assert not find("azure", pa.array(["A-z_0=9"]))


def test_metadata_is_measured_as_compact_json() -> None:
    """{"t":"…"} is eight bytes around the text."""
    limit = 40 * 1024
    texts: list[object] = ["x" * (limit - 8), "x" * (limit - 7), "é" * (limit // 2 - 4), "é" * (limit // 2 - 3), '"' * (limit // 2 - 3)]
    assert find("pinecone", pa.array(list("abcde")), t=texts)["metadata_bytes"] == (3, ("'b' (40,961 bytes)", "'d' (40,962 bytes)", "'e' (40,962 bytes)"))


def test_a_row_larger_than_a_call_may_be() -> None:
    ids, vectors = pa.array(["a", "b"]), np.ones((2, 4), np.float32)
    found = find("azure", ids, vectors, body=["x" * (16 << 20), "x" * (15 << 20)])
    assert list(found) == ["batch_bytes"] and found["batch_bytes"][0] == 1 and found["batch_bytes"][1][0].startswith("'a' (about 16,777,3")


def test_strings_and_vectors() -> None:
    ids = pa.array(["a", "b"])
    assert find("milvus", ids, t=["x" * 65_535, "x" * 65_536])["string_bytes"] == (1, ("'b' (65,536 bytes)",))
    assert find("postgresql", ids, t=["x\0y", None])["text_without_nul"] == (1, ("'a'",))
    assert find("elasticsearch", ids, np.array([[0, 0], [0, 1]], np.float32))["nonzero_vectors"] == (1, ("'a'",))
    assert not find("elasticsearch", ids), "vectors that are not given are not looked at"


def form(**changes: object) -> Form:
    values: dict[str, object] = {"id_type": pa.string(), "column": "embedding", "dtype": "float32", "dim": 384, "metadata": pa.schema([("lang", pa.string())])}
    return Form(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "changes", "rule", "named"),
    [
        ("pinecone", {"dim": 20_001}, "dimensions", "embedding: 20,001 dimensions"),
        ("elasticsearch", {"dim": 4_097}, "dimensions", "embedding: 4,097 dimensions"),
        ("s3vectors", {"dtype": "float16"}, "dtypes", "embedding: float16"),
        ("lancedb", {"dtype": "int8"}, "dtypes", "embedding: int8"),
        ("pinecone", {"metadata": pa.schema([("m", pa.list_(pa.int64())), ("t", pa.list_(pa.string()))])}, "metadata_types", "m: list<item: int64>"),
        ("milvus", {"metadata": pa.schema([("a-b", pa.string())])}, "field_names", "a-b"),
        ("weaviate", {"metadata": pa.schema([("_id", pa.string())])}, "reserved_fields", "_id"),
        ("s3vectors", {"metadata": pa.schema([(f"c{number}", pa.string()) for number in range(51)])}, "fields", "51 columns"),
        ("s3vectors", {"rows": 2_000_000_001}, "rows", "2,000,000,001 rows"),
    ],
)
def test_the_columns_are_held_against_the_limits(target: str, changes: dict[str, object], rule: str, named: str) -> None:
    (found,) = find_form_violations(limits_of(target), form(**changes))
    assert (found.limit.rule, found.named, found.is_refused) == (rule, (named,), True)


def test_a_table_takes_more_dimensions_than_its_index() -> None:
    (found,) = find_form_violations(limits_of("postgresql"), form(dim=3_000))
    assert not found.is_refused and "float16" in str(found)
    assert not find_form_violations(limits_of("postgresql"), form(dim=3_000, dtype="float16"))


@pytest.mark.parametrize("target", TARGETS)
def test_a_plain_form_fits_every_target(target: str) -> None:
    assert not find_form_violations(limits_of(target), form(rows=5_393))
