"""Rows of ids cut at once: what each row cut alone would be."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embermill.encoder.text.whole_rows import WholeRows, cut_rows, differing_rows

ROWS = st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=8)


def flat(rows: list[list[int]]) -> WholeRows:
    return WholeRows(np.array([number for row in rows for number in row], np.int32), np.cumsum([0, *map(len, rows)]))


def rows_of(flat: WholeRows) -> list[list[int]]:
    return [row.tolist() for row in np.split(flat.input_ids, flat.offsets[1:-1])] if len(flat.offsets) > 1 else []


@given(inner=ROWS, prefix=st.integers(0, 2), suffix=st.integers(0, 2), room=st.integers(1, 6), left=st.booleans())
def test_cut(inner: list[list[int]], prefix: int, suffix: int, room: int, left: bool) -> None:
    rows = [[-1] * prefix + row + [-2] * suffix for row in inner]
    kept, dropped = cut_rows(flat(rows), prefix + suffix + room, prefix=prefix, suffix=suffix, left=left)
    expected = [[-1] * prefix + (row[max(0, len(row) - room) :] if left else row[:room]) + [-2] * suffix for row in inner]
    assert rows_of(kept) == expected and kept.input_ids.dtype == np.int32
    assert dropped.dtype == np.int32 and dropped.tolist() == [max(0, len(row) - room) for row in inner]


@given(rows=ROWS, others=ROWS)
def test_differing(rows: list[list[int]], others: list[list[int]]) -> None:
    count = min(len(rows), len(others))
    one, other = rows[:count], others[:count]
    assert differing_rows(flat(one), flat(other)).tolist() == [place for place in range(count) if one[place] != other[place]]
    assert differing_rows(flat(rows), flat(rows)).tolist() == []
