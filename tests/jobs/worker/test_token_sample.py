"""Which rows are compared: all where they are few, the same however they are batched, long ones and ones that are not ASCII among them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.worker.token_sample import SAMPLE_ROWS, SPECIAL_ROWS, TokenSample, content_keys


def sample_of(*batches: list[str]) -> list[str]:
    sample = TokenSample()
    for batch in batches:
        sample.add(pa.array(batch, pa.string()))
    return sample.texts()


@given(st.lists(st.text(max_size=40), max_size=60))
def test_few_rows_are_all_compared(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    assert sorted(sample_of(texts)) == sorted(set(texts))


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=40), st.integers(0, 40))
def test_a_key_follows_from_the_text_alone(texts: list[str], at: int) -> None:
    whole = content_keys(pa.array(texts, pa.string()))
    alone = [int(content_keys(pa.array([text], pa.string()))[0]) for text in texts]
    assert whole.tolist() == alone and (whole >= 0).all()
    np.testing.assert_array_equal(content_keys(pa.array(texts, pa.string())[at:]), whole[at:])


def test_the_same_rows_however_they_are_batched() -> None:
    texts = [f"{number} " * (number % 97) + ("é" if number % 50 == 0 else "") for number in range(5000)]
    found = sample_of(texts)
    assert found == sample_of(*[texts[at : at + 333] for at in range(0, 5000, 333)])
    assert len(found) == SAMPLE_ROWS == len(set(found))


def test_long_rows_and_rows_that_are_not_ascii_go_first() -> None:
    texts = [f"plain text number {number}" for number in range(5000)]
    texts[17:17] = [f"long {number} " * 300 for number in range(SPECIAL_ROWS)]
    texts += [f"né {number}" for number in range(SPECIAL_ROWS)]
    found = sample_of(texts)
    assert sum(len(text) > 1000 for text in found[:SPECIAL_ROWS]) == SPECIAL_ROWS
    assert sum("é" in text for text in found) == SPECIAL_ROWS


def test_keys_are_spread_evenly() -> None:
    keys = content_keys(pa.array([f"row {number}" for number in range(20_000)]))
    assert len(np.unique(keys)) == 20_000
    assert abs((keys < np.iinfo(np.int64).max // 4).mean() - 0.25) < 0.02
