"""The codec of compact columns: what is stored of float32 vectors, and what of them comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from embermill.jobs.vectors.codec import PERCENTILE, decode, encode, measure_ranges, measure_scale, measured, shorten
from embermill.jobs.vectors.form import FLOAT16, FLOAT32, INT8, SENTENCE_TRANSFORMERS, UBINARY, form_changes, from_json, stored_vectors
from tests.jobs.vectors.forms import form, st_int8, unit_vectors

DIM = 16
numbers = st.floats(-(2.0**126), 2.0**126, width=32)
matrices = hnp.arrays(np.float32, st.tuples(st.integers(0, 9), st.just(DIM)), elements=numbers)
small = hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(DIM)), elements=st.floats(-4, 4, width=32))
FORMS = [form(FLOAT32, DIM), form(FLOAT16, DIM), form(INT8, DIM, scale=0.01), form(UBINARY, DIM), replace(st_int8(DIM), ranges=((-1.0,) * DIM, (1.0,) * DIM))]
FORMS += [replace(each, dim=8, unit=True, ranges=None if each.ranges is None else ((-1.0,) * 8, (1.0,) * 8)) for each in FORMS]


@pytest.mark.parametrize("chosen", FORMS, ids=lambda each: f"{each.dtype}-{each.packing}-{each.dim}")
@settings(max_examples=15, deadline=None)
@given(vectors=matrices, cut=st.integers(0, 9))
def test_what_is_stored_has_its_form_and_does_not_hang_on_how_rows_are_batched(chosen: Any, vectors: np.ndarray, cut: int) -> None:
    codes, clipped = encode(chosen, vectors)
    parts = [encode(chosen, part) for part in (vectors[:cut], vectors[cut:])]
    assert codes.dtype == chosen.numpy_type and codes.shape == (len(vectors), chosen.width)
    assert np.array_equal(codes, np.concatenate([part for part, _ in parts])) and clipped == sum(count for _, count in parts)
    back = decode(chosen, codes)
    assert back.dtype == np.float32 and back.shape == (len(vectors), chosen.dim) and np.isfinite(back).all()


@settings(max_examples=40, deadline=None)
@given(vectors=small, scale=st.floats(0.001, 1))
def test_symmetric_codes_are_within_half_a_step_and_only_what_is_larger_is_clipped(vectors: np.ndarray, scale: float) -> None:
    chosen = form(INT8, DIM, scale=scale)
    codes, clipped = encode(chosen, vectors)
    fits = np.abs(vectors) <= np.float32(scale) * 127
    assert (np.abs(decode(chosen, codes) - vectors)[fits] <= scale * 0.5 * (1 + 1e-5)).all()
    assert codes.min() >= -127 and (codes == -encode(chosen, -vectors)[0]).all(), "a code and its negative are as far from 0"
    assert clipped <= np.count_nonzero(~fits) and (np.abs(codes)[~fits] == 127).all()
    assert clipped == np.count_nonzero(np.rint(np.abs(vectors) / np.float32(scale)) > 127)


@settings(max_examples=40, deadline=None)
@given(vectors=matrices)
def test_bits_are_those_of_packbits(vectors: np.ndarray) -> None:
    codes, clipped = encode(form(UBINARY, DIM), vectors)
    assert codes.tobytes() == np.packbits(vectors > 0, axis=1).tobytes() and clipped == 0
    assert ((decode(form(UBINARY, DIM), codes) > 0) == (vectors > 0)).all()


@settings(max_examples=40, deadline=None)
@given(vectors=small, sample=small)
def test_ranges_clip_and_never_wrap(vectors: np.ndarray, sample: np.ndarray) -> None:
    chosen = replace(st_int8(DIM), ranges=measure_ranges(sample))
    codes, clipped = encode(chosen, vectors)
    low, high = sample.min(axis=0), sample.max(axis=0)
    assert (codes[(vectors < low)] == -128).all()
    assert (codes[(vectors > high + (high - low) / 100 + 1.01)] > codes[(vectors < low)].max(initial=-128)).all()
    inside = (vectors >= low) & (vectors <= high)
    steps = np.where(high > low, (high - low) / 255, 1)
    assert (np.abs(decode(chosen, codes) - vectors)[inside] <= (np.broadcast_to(steps, vectors.shape) * 1.01 + 1e-5)[inside]).all()
    assert clipped <= np.count_nonzero(~inside)
    assert encode(chosen, sample)[1] == 0, "nothing of the sample itself is clipped"


def test_half_precision_is_clipped_and_not_infinite() -> None:
    codes, clipped = encode(form(FLOAT16, 4), np.array([[1e6, -1e6, 65504, 1]], np.float32))
    assert codes.tolist() == [[65504, -65504, 65504, 1]] and clipped == 2


def test_the_scale_leaves_one_in_ten_thousand_outside() -> None:
    vectors = unit_vectors(2000, 384)
    chosen = measured([form(INT8, 384)], {"embedding": vectors})[0]
    assert chosen.scale == measure_scale(vectors) == pytest.approx(np.percentile(np.abs(vectors), PERCENTILE) / 127)
    clipped = encode(chosen, vectors)[1]
    assert 0 < clipped <= vectors.size * 1.01e-4


@pytest.mark.parametrize("sample", [np.zeros((3, DIM), np.float32), np.empty((0, DIM), np.float32)], ids=["zeros", "nothing"])
def test_a_sample_that_says_nothing_still_gives_a_form(sample: np.ndarray) -> None:
    for chosen in measured([form(INT8, DIM), st_int8(DIM)], {"embedding": sample}):
        assert (chosen.is_measured and not decode(chosen, encode(chosen, np.zeros((1, DIM), np.float32))[0]).any()) or chosen.ranges


def test_what_is_cut_is_of_length_one_again_where_the_model_normalizes() -> None:
    vectors = unit_vectors(50, 64)
    cut = shorten(form(FLOAT32, 16, unit=True), vectors)
    assert np.allclose(np.linalg.norm(cut, axis=1), 1, atol=1e-6) and np.allclose(cut * np.linalg.norm(vectors[:, :16], axis=1, keepdims=True), vectors[:, :16])
    assert np.array_equal(shorten(form(FLOAT32, 16), vectors), vectors[:, :16])
    assert shorten(form(FLOAT32, 64), vectors) is vectors


def test_a_layer_norm_before_the_cut_is_that_of_the_whole_vector() -> None:
    """The pooled vector's, though ours has length 1 already: a factor does not matter to it."""
    pooled = unit_vectors(20, 64) * 7 + 1
    whole = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    expected = ((pooled - pooled.mean(1, keepdims=True)) / pooled.std(1, keepdims=True))[:, :16]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = shorten(replace(form(FLOAT32, 16, unit=True), layer_norm_eps=1e-5), whole)
    assert np.allclose(found, expected, atol=1e-5)


def test_forms_survive_as_json_and_name_what_differs() -> None:
    one = replace(form(INT8, 384, scale=0.1234567890123), unit=True)
    ranges = replace(st_int8(8), ranges=measure_ranges(unit_vectors(20, 8)))
    for chosen in (one, ranges, form(UBINARY, 8), form(FLOAT32, 3)):
        assert from_json(chosen.to_json()) == chosen
    assert form_changes([one], [replace(one, scale=0.2)]) == ["embedding_int8: scale: 0.1234567890123 -> 0.2"]
    assert form_changes([one], [replace(one, scale=None)]) == [], "what is not measured yet is no change"
    assert form_changes([one], [replace(form(UBINARY, 384), column=one.column)])[0] == "embedding_int8: dtype: int8 -> ubinary"
    assert form_changes([one], []) == ["embedding_int8: int8[384], scale 0.123457 -> not stored"]
    assert form_changes([one, ranges], [ranges, one]) == ["order of the columns of vectors: embedding_int8, embedding_st -> embedding_st, embedding_int8"]


@pytest.mark.parametrize("wrong", [{"dtype": "int4"}, {"dim": 12}, {"packing": "other"}, {"packing": "symmetric"}, {"packing": SENTENCE_TRANSFORMERS}])
def test_what_is_no_form_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="embedding_ubinary"):
        from_json(form(UBINARY, 16).to_json() | wrong)


def test_without_forms_each_output_is_a_column_of_float32() -> None:
    from embermill.jobs.engine import Output

    assert stored_vectors([Output("a", "dense", "float32", 5)], ()) == (replace(form(FLOAT32, 5, column="a"), source="a"),)


@pytest.mark.reference
def test_bits_and_ranges_are_those_of_sentence_transformers() -> None:
    from sentence_transformers.util.quantization import quantize_embeddings

    vectors = unit_vectors(1000, 384)
    assert encode(form(UBINARY, 384), vectors)[0].tobytes() == quantize_embeddings(vectors, "ubinary").tobytes()
    chosen = measured([st_int8(384)], {"embedding": vectors})[0]
    codes, clipped = encode(chosen, vectors)
    assert clipped == 0 and np.array_equal(codes, quantize_embeddings(vectors, "int8"))
    narrow = measured([st_int8(384)], {"embedding": vectors[:100]})[0]
    codes, clipped = encode(narrow, vectors)
    assert clipped > 0 and np.array_equal(codes, quantize_embeddings(vectors, "int8", calibration_embeddings=vectors[:100]))
