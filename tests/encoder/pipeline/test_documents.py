"""Texts cut into pieces: an Arrow array without nulls, cut with no step for each text, gives the pieces that a list of the same texts gives."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.encoder.errors import InputError
from embermill.encoder.pipeline import documents
from embermill.encoder.pipeline.documents import cut_texts

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=40)


@given(TEXTS, st.integers(1, 40), st.integers(0, 10), st.integers(1, 12), st.booleans())
def test_an_array_is_cut_as_a_list_is(texts: list[str], window: int, skipped: int, most: int, wide: bool) -> None:
    array = pa.array(["sliced away"] * skipped + texts, pa.large_string() if wide else pa.string())[skipped:]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(documents, "TEXTS_OF_A_PIECE", most)
        pieces = [*cut_texts(array, window)]
        assert pieces == [*cut_texts(texts, window)]
    assert [text for piece in pieces for text in piece.content] == texts
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


def test_a_null_is_named() -> None:
    with pytest.raises(InputError, match="text 1: expected a string, got null"):
        [*cut_texts(pa.array(["a", None]), 10)]
