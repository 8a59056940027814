"""UUIDs as text with dashes, from bytes and from every spelling; and as datasets had them that were begun before."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.corpus.columns import ColumnFitter, deviates
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.corpus.uuids import as_uuids, derived_uuids, is_uuid, uuid_type

VALUES = st.lists(st.none() | st.uuids(), max_size=6)


@given(VALUES, st.integers(0, 3))
def test_bytes_become_text(values: list[uuid.UUID | None], start: int) -> None:
    raw = [None if value is None else value.bytes for value in values]
    expected = [None if value is None else str(value) for value in values][start:]
    for array in (pa.array(raw, pa.uuid()), pa.array(raw, pa.binary(16))):
        found, wrong = as_uuids(array.slice(start))
        found.validate(full=True)
        assert found.type == pa.string() and found.to_pylist() == expected and not wrong.any()


@given(st.lists(st.tuples(st.uuids(), st.sampled_from([str, lambda value: value.hex, lambda value: value.urn, lambda value: str(value).upper()]))))
def test_every_spelling_becomes_one(values: list[tuple[uuid.UUID, object]]) -> None:
    array = pa.array([spell(value) for value, spell in values], pa.string())  # type: ignore[operator]
    found, wrong = as_uuids(array)
    assert found.to_pylist() == [str(value) for value, _ in values] and not wrong.any()


def test_what_is_none_stays_and_is_told() -> None:
    found, wrong = as_uuids(pa.array(["x", None, "550E8400e29b41d4a716446655440000", "550e8400-e29b-41d4-a716-44665544000g"]))
    assert found.to_pylist() == ["x", None, "550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-44665544000g"]
    assert wrong.tolist() == [True, False, False, True]


def test_types() -> None:
    assert is_uuid(pa.uuid()) and not is_uuid(pa.binary(16)) and not is_uuid(pa.string())
    assert {uuid_type(kind) for kind in (pa.uuid(), pa.binary(16), pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()))} == {pa.string()}
    assert uuid_type(pa.int64()) == pa.int64() and uuid_type(pa.binary(8)) == pa.binary(8)


def test_derived_ones_never_change() -> None:
    assert derived_uuids(pa.array(["a", "é"])).to_pylist() == ["fc66362e-220c-5f1e-bd2b-24221fdef119", "283a1edc-989a-50c1-a4d8-16175af4a75f"]
    assert derived_uuids(pa.array([7])).to_pylist() == derived_uuids(pa.array(["7"])).to_pylist()


def schema(uuids: tuple[str, ...], kept: pa.DataType) -> RowSchema:
    return RowSchema("id", "id", pa.string(), ("text",), "\n", (("owner", "owner", kept),), 1 << 20, "fail", uuids=uuids)


VALUE = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
COLUMNS = {"id": pa.array([VALUE.bytes], pa.uuid()), "text": pa.array(["x"]), "owner": pa.array([VALUE.bytes], pa.uuid())}


@pytest.mark.parametrize(
    ("row_schema", "expected"),
    [
        (schema(("id", "owner"), pa.string()), (str(VALUE), str(VALUE))),
        (schema((), pa.binary(16)), (VALUE.hex, VALUE.bytes)),
    ],
    ids=["now", "datasets begun before"],
)
def test_a_column_of_uuids(row_schema: RowSchema, expected: tuple[object, object]) -> None:
    ids, _, kept, faults = ColumnFitter(row_schema).fit(1, COLUMNS)
    assert ids is not None and (ids[0].as_py(), kept[0][0].as_py()) == expected and not faults
    assert deviates(row_schema, "id", pa.uuid()) is None and deviates(row_schema, "owner", pa.uuid()) is None


def test_text_that_is_no_uuid_is_refused() -> None:
    fitter = ColumnFitter(schema(("owner",), pa.string()))
    columns = COLUMNS | {"id": pa.array(["a", "b"]), "text": pa.array(["x", "y"]), "owner": pa.array([VALUE.hex, "nobody"])}
    _, _, (owner,), faults = fitter.fit(2, columns)
    assert owner[0].as_py() == str(VALUE) and {row: fault.reason for row, fault in faults.items()} == {1: "column_type"}
    assert "column 'owner': 'nobody' is no UUID" in str(faults[1])
    assert deviates(schema(("owner",), pa.string()), "owner", pa.int64()) == pa.string()
