"""Stretches of a text that get vectors of their own, out of one pass over the text."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.encoder import Encoder, ModelConfigError
from embermill.encoder.pipeline.batching import pack
from embermill.encoder.pipeline.spans import SpannedText, Stretches, stretches, with_spans
from embermill.encoder.text.tokenizer import Tokenizer
from tests.encoder.plain_bert import hidden_states
from tests.encoder.text.tokenizer_folders import GOLDEN, TEXTS
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers

BERT = TinyBert(positions=90)
TEXT = "how do i open a zip file read the list of models write a text do the zipping of files"


def folder(path: Path, **options: object) -> Path:
    return write_sentence_transformers(BERT.write(path), BERT.hidden, **options)  # type: ignore[arg-type]


def loaded(path: Path, **options: object) -> Encoder:
    return Encoder.from_pretrained(str(path), **{"device": "cpu", "threads": 1, **options})  # type: ignore[arg-type]


def vectors(encoder: Encoder, *texts: SpannedText) -> np.ndarray:
    (batch,) = encoder.encode_spans([texts])
    return batch.embeddings


DEVICES = [
    pytest.param("cpu", "float32", 2e-5, id="cpu-float32"), pytest.param("cpu", "int8", 0.2, id="cpu-int8"),
    *(pytest.param("gpu", precision, bound, marks=pytest.mark.gpu, id=f"gpu-{precision}") for precision, bound in (("float32", 2e-5), ("float16", 0.01))),
]  # fmt: skip
"""device, precision, how far values may be from those of float32 on the CPU."""


def parts(text: str, *places: int) -> SpannedText:
    return SpannedText(text, list(itertools.pairwise([0, *places, len(text)])))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("prompt", ["", "read the text "])
def test_the_mean_over_the_tokens_of_a_part(tmp_path: Path, normalize: bool, prompt: str) -> None:
    """By hand: the tokens of each part by where they end, their hidden states by a plain BERT in float64, the mean, and the norm."""
    path = folder(tmp_path, normalize=normalize)
    text = parts(TEXT, 14, 25, 26, 60)
    with loaded(path, prompt=prompt) as encoder:
        (found,) = encoder.encode_spans([[text]])
    import tokenizers

    encoding = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
    encoding.no_truncation()
    encoding.no_padding()
    tokens = encoding.encode(prompt + TEXT)
    states = hidden_states(BERT, BERT.tensors(), tokens.ids)
    for place, (start, end) in enumerate(text.spans):
        own = [
            row for row, (_, last) in enumerate(tokens.offsets)
            if not tokens.special_tokens_mask[row] and start < last - len(prompt) <= end
        ]  # fmt: skip
        expected = states[own].mean(0) if own else states.mean(0)
        np.testing.assert_allclose(found.embeddings[place], expected / (np.linalg.norm(expected) if normalize else 1), atol=2e-5)
        assert found.num_tokens[place] == (len(own) or len(tokens.ids))
    assert not found.num_tokens_dropped.any()
    assert [end - start for start, end in text.spans].count(1) == 1, "one part is a blank, which has no token"


def test_a_text_without_parts_has_the_vector_that_it_has_alone(tmp_path: Path) -> None:
    texts = [TEXT, "", "zip", "a list of files"]
    for include in (True, False):
        path = folder(tmp_path / str(include))
        pooling = path / "1_Pooling" / "config.json"
        pooling.write_text(json.dumps(json.loads(pooling.read_text()) | {"include_prompt": include}))
        with loaded(path, prompt="read the text ") as encoder:
            (found,) = encoder.encode_spans([[SpannedText(text) for text in texts]])
            (plain,) = encoder.encode_stream([texts])
            assert found.embeddings.tobytes() == plain.embeddings.tobytes()
            assert found.num_tokens.tolist() == plain.num_tokens.tolist()


@pytest.mark.parametrize(("device", "precision", "bound"), DEVICES)
def test_a_vector_depends_on_its_text_and_part_alone(tmp_path: Path, device: str, precision: str, bound: float) -> None:
    random = np.random.default_rng(3)
    texts = [parts(" ".join(random.choice(TEXT.split(), size).tolist()), *sorted({3, size, 2 * size})) for size in range(2, 60)]
    with loaded(folder(tmp_path)) as encoder:
        expected = vectors(encoder, *texts)
    with loaded(tmp_path, device=device, precision=precision) as encoder:
        together = vectors(encoder, *texts)
        backwards = vectors(encoder, *texts[::-1])
        alone = [vectors(encoder, text) for text in texts]
        single = [vectors(encoder, SpannedText(text.text, [span])) for text in texts for span in text.spans]
        streams = list(encoder.encode_spans([texts[:7], [], texts[7:]]))
    assert np.abs(together - expected).max() <= bound
    assert together.tobytes() == np.concatenate(alone).tobytes() == np.concatenate(single).tobytes()
    assert together.tobytes() == np.concatenate([batch.embeddings for batch in streams]).tobytes()
    ends = np.cumsum([len(text.spans) for text in texts[::-1]])
    assert together.tobytes() == np.concatenate(np.split(backwards, ends[:-1])[::-1]).tobytes()


@pytest.mark.parametrize("pooling", ["cls", "max", "last"])
def test_other_poolings_are_refused(tmp_path: Path, pooling: str) -> None:
    with loaded(folder(tmp_path, pooling=pooling)) as encoder, pytest.raises(ModelConfigError, match=f"its pooling is {pooling}"):
        encoder.encode_spans([[SpannedText("zip")]])


TOKENIZERS = sorted(path.name for path in GOLDEN.iterdir() if (path / "tokenizer.json").is_file())


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("prompt", ["", "passage: "])
def test_parts_cover_all_tokens_but_the_special_ones(name: str, prompt: str) -> None:
    """Parts that lie one after another, cut anywhere, hold each token once; the special ones and those of a prompt alone are in none."""
    tokenizer = Tokenizer(GOLDEN / name, max_tokens=1 << 20, vocab_size=1 << 20, prompt=prompt)
    tokens, places = tokenizer.tokenize_with_places(TEXTS)
    assert tokens.input_ids.tolist() == tokenizer.exactly().tokenize(TEXTS).input_ids.tolist()

    @given(st.integers(0, len(TEXTS) - 1), st.lists(st.floats(0, 1), max_size=6))
    @settings(max_examples=30, deadline=None)
    def check(at: int, shares: list[float]) -> None:
        text = TEXTS[at]
        edges = [0, *sorted({round(share * len(text)) for share in shares} - {0, len(text)}), len(text)]
        first, end = tokens.offsets[at : at + 2].tolist()
        own = places[first:end]
        assert (np.diff(own) >= 0).all()
        rows = [np.searchsorted(own, span).tolist() for span in itertools.pairwise(edges)]
        held = [row for start, stop in rows for row in range(start, stop)]
        assert held == [row for row in range(end - first) if 0 <= own[row] < len(text)]
        if not prompt:
            assert held == [*range(tokenizer._prefix, end - first - tokenizer._suffix)]

    check()


def test_rows_of_spans_in_a_packed_batch() -> None:
    random = np.random.default_rng(5)
    lengths = random.integers(3, 40, 30)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.arange(offsets[-1], dtype=np.int32)
    counts = random.integers(1, 5, 30)
    rows = [sorted(random.integers(0, length + 1, 2).tolist()) for length, count in zip(lengths, counts, strict=True) for _ in range(count)]
    found = Stretches(np.concatenate([[0], np.cumsum(counts)]), np.array(rows, np.int32), np.ones(len(rows), np.int32))
    parent = np.repeat(np.arange(30), counts)
    for block in (1, 8):
        seen = []
        for batch in (with_spans(each, found) for each in pack(ids, offsets, 128, block)):
            assert batch.spans is not None and batch.spans.dtype == np.int32 and batch.num_pooled == len(batch.spans)
            for place, (start, end) in zip(batch.order.tolist(), batch.spans.tolist(), strict=True):
                first = offsets[parent[place]]
                assert batch.input_ids[start:end].tolist() == [*range(first + rows[place][0], first + rows[place][1])]
                seen.append(place)
        assert sorted(seen) == [*range(len(rows))]


def test_a_part_without_a_token_takes_all_of_the_text() -> None:
    from embermill.encoder.text.tokenizer import TokenizedTexts

    tokens = TokenizedTexts(np.arange(6, dtype=np.int32), np.array([0, 6]), np.zeros(1, np.int32))
    places = np.array([-1, 2, 5, 9, 14, 1 << 60])
    found = stretches([[(0, 6), (6, 7), (7, 15)]], tokens, places, 0)
    assert found.rows.tolist() == [[1, 3], [0, 6], [3, 5]] and found.num_tokens.tolist() == [2, 6, 2]
