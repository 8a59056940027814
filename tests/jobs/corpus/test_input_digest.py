"""Two readings of the same rows have one digest, however they were cut; any other row gives another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.corpus.input_digest import InputDigest
from embermill.jobs.corpus.rows import Refusal, RowBatch
from embermill.jobs.worker.cutting import split

KEPT: dict[pa.DataType, list[Any]] = {
    pa.int16(): [1, None, -3, 0], pa.bool_(): [True, None, False, True], pa.float64(): [0.5, float("nan"), None, -0.0], pa.string(): ["", None, "ä", "xy"],
    pa.date32(): [date(2026, 1, 1), None, date(1, 1, 1), date(2026, 1, 1)], pa.decimal128(5, 2): [Decimal("1.25"), None, Decimal(0), Decimal(1)],
    pa.list_(pa.string()): [["a"], None, [], [None]], pa.struct([("a", pa.int8())]): [{"a": 1}, None, {"a": None}, {"a": 1}], pa.null(): [None] * 4,
}  # fmt: skip


def batch(texts: list[str], kept: Iterable[pa.Array] = (), refused: tuple[Refusal, ...] = ()) -> RowBatch:
    ids = pa.array([f"id{row}" for row in range(len(texts))])
    return RowBatch(0, len(texts), np.arange(len(texts)), ids, pa.array(texts, pa.string()), tuple(kept), refused)


def digest(*batches: RowBatch) -> str:
    found = InputDigest()
    for each in batches:
        found.add(each)
    return found.hexdigest()


@given(st.lists(st.text(max_size=5), min_size=1, max_size=8), st.data())
def test_where_it_is_cut_does_not_matter(texts: list[str], data: st.DataObject) -> None:
    whole = batch(texts, (pa.array([len(text) or None for text in texts], pa.int64()),))
    head, tail = split(whole, data.draw(st.integers(0, len(texts))))
    assert digest(whole) == digest(head, tail)
    other = data.draw(st.lists(st.text(max_size=5), min_size=1, max_size=8))
    assert (digest(batch(texts)) == digest(batch(other))) == (texts == other)


@pytest.mark.parametrize("kind", KEPT, ids=str)
def test_kept_columns_of_every_type(kind: pa.DataType) -> None:
    values = pa.array(KEPT[kind], kind)
    whole = batch(["a", "b", "c", "d"], (values,))
    assert digest(whole) == digest(*split(whole, 1)) == digest(*split(whole, 3))
    padded = pa.concat_arrays([pa.array(KEPT[kind][:1], kind), values]).slice(1)  # an offset into its buffers
    assert digest(batch(["a", "b", "c", "d"], (padded,))) == digest(whole)
    if not pa.types.is_null(kind):
        for row in range(4):
            changed = [*KEPT[kind]]
            changed[row] = KEPT[kind][3] if changed[row] is None else None
            assert digest(batch(["a", "b", "c", "d"], (pa.array(changed, kind),))) != digest(whole)


def test_what_was_refused_counts_and_its_wording_does_not() -> None:
    refusal = Refusal(3, 1, "x", "/corpus/a", 3, None, "invalid_utf8", "byte 0xff", 12)
    whole = batch(["a", "b", "c"], refused=(refusal,))
    assert digest(whole) == digest(batch(["a", "b", "c"], refused=(replace(refusal, error="another wording"),)))
    for changes in ({"row": 2}, {"id": None}, {"reason": "null_id"}, {"first_row": 9}, {"text_bytes": 1}):
        assert digest(whole) != digest(batch(["a", "b", "c"], refused=(replace(refusal, **changes),)))
    assert digest(whole) != digest(batch(["a", "b", "c"]))
