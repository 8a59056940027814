"""Each keyword of `encode` gives what sentence-transformers gives for it, alone and with every other, on models with and without a Normalize of their own."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embermill.encoder import Encoder, InputError
from tests.encoder.tiny_bert import TinyBert, write_json, write_sentence_transformers

pytestmark = pytest.mark.reference

TEXTS = ["how do i open a zip file", "the model", "", "list of texts " * 12, "read"]
PROMPTS = {"query": "how do i ", "passage": "the text ", "title": "a "}
DEFAULT = {"none": None, "default": "title"}
CHOICES: dict[str, tuple[Any, ...]] = {
    "prompt": ("of the ", "query", ""),
    "prompt_name": ("query", "passage"),
    "normalize_embeddings": (True, False),
    "truncate_dim": (5, 1, 500),
    "batch_size": (1, 64),
    "show_progress_bar": (False,),
}
ALONE = [{name: value} for name, values in CHOICES.items() for value in values]
PAIRS = [{**one, **other} for one, other in combinations(ALONE, 2) if not one.keys() & other.keys()]


class Both:
    """One model, opened by us and by sentence-transformers."""

    def __init__(self, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self.ours = Encoder.from_pretrained(folder, device="cpu", threads=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.theirs = SentenceTransformer(str(folder), device="cpu")

    def require_equal(self, method: str, texts: Any, **keywords: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = getattr(self.theirs, method)(texts, **keywords)
        found = getattr(self.ours, method)(texts, **keywords)
        assert found.shape == expected.shape and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=f"{method} {keywords}")


@pytest.fixture(scope="module", params=[(True, "none"), (False, "default")], ids=str)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    normalize, default = request.param
    tiny = TinyBert(seed=5)
    folder = tiny.write(tmp_path_factory.mktemp("keywords") / "model")
    dense = [(20, "torch.nn.modules.activation.Tanh", True)]
    write_sentence_transformers(folder, tiny.hidden, dense=dense, normalize=normalize, prompts=PROMPTS, default_prompt=DEFAULT[default])
    both = Both(folder)
    yield both
    both.ours.close()


@pytest.mark.parametrize("keywords", [{}, *ALONE, *PAIRS], ids=str)
def test_keywords(both: Both, keywords: dict[str, Any]) -> None:
    both.require_equal("encode", TEXTS, **keywords)


@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
@pytest.mark.parametrize("texts", [TEXTS[0], TEXTS, tuple(TEXTS), np.array(TEXTS)], ids=lambda texts: type(texts).__name__)
@pytest.mark.parametrize("keywords", [{}, {"prompt": "of "}, {"prompt_name": "title"}, {"truncate_dim": 3, "normalize_embeddings": True}], ids=str)
def test_methods_and_inputs(both: Both, method: str, texts: Any, keywords: dict[str, Any]) -> None:
    both.require_equal(method, texts, **keywords)


@pytest.mark.parametrize("prompts", [{}, {"query": "how "}, {"document": "the "}, {"passage": "a "}, {"query": "how ", "document": "the "}], ids=str)
@pytest.mark.parametrize("method", ["encode", "encode_query", "encode_document"])
def test_which_prompt_a_query_and_a_document_have(tmp_path: Path, prompts: dict[str, str], method: str) -> None:
    tiny = TinyBert(seed=6, layers=1)
    write_sentence_transformers(tiny.write(tmp_path / "model"), tiny.hidden, prompts=prompts)
    both = Both(tmp_path / "model")
    both.require_equal(method, TEXTS)
    for name in ("query", "document"):  # always known
        both.require_equal(method, TEXTS, prompt_name=name)
    both.ours.close()
    with pytest.raises(ValueError, match="Prompt name 'title' not found"):
        both.theirs.encode(TEXTS, prompt_name="title")
    with pytest.raises(InputError, match="prompt_name='title'"):
        both.ours.encode(TEXTS, prompt_name="title")


@pytest.mark.parametrize("keywords", [{}, {"prompt": ""}, {"prompt": "of the "}, {"prompt_name": "passage", "truncate_dim": 4}], ids=str)
@pytest.mark.parametrize("method", ["encode", "encode_query"])
def test_prompts_that_are_left_out_of_pooling(tmp_path: Path, method: str, keywords: dict[str, Any]) -> None:
    tiny = TinyBert(seed=8, layers=1)
    folder = write_sentence_transformers(tiny.write(tmp_path / "model"), tiny.hidden, prompts=PROMPTS, default_prompt="title")
    pooling = json.loads((folder / "1_Pooling/config.json").read_text())
    write_json(folder / "1_Pooling/config.json", pooling | {"include_prompt": False})
    Both(folder).require_equal(method, TEXTS, **keywords)


@pytest.mark.parametrize("kind", ["cosine", "dot", "euclidean", "manhattan", None])
def test_similarity(tmp_path: Path, kind: str | None) -> None:
    tiny = TinyBert(seed=7, layers=1)
    write_sentence_transformers(tiny.write(tmp_path / "model"), tiny.hidden, normalize=False)
    write_json(tmp_path / "model/config_sentence_transformers.json", {"prompts": {}, "similarity_fn_name": kind})
    both = Both(tmp_path / "model")
    one, other = both.ours.encode(TEXTS), both.ours.encode(TEXTS[:3])
    for left, right in ((one, other), (one[0], other), (one, other[1]), (one[0], other[0]), (np.zeros_like(one), other)):
        expected = both.theirs.similarity(left, right).numpy()
        found = both.ours.similarity(left, right)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["binary", "ubinary", "int8", "uint8"])
def test_the_advice_about_quantised_vectors_gives_what_they_give(both: Both, precision: str) -> None:
    from sentence_transformers.util import quantize_embeddings

    with pytest.raises(InputError, match="to quantise them, write") as refused:
        both.ours.encode(TEXTS, precision=precision)
    vectors = both.ours.encode(TEXTS)
    advice = str(refused.value).partition("write ")[2].rstrip(".").partition(" of sentence_transformers")[0].replace("...", "vectors")
    found = eval(advice, {"np": np, "vectors": vectors, "quantize_embeddings": quantize_embeddings})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = quantize_embeddings(vectors, precision=precision, calibration_embeddings=vectors)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_the_advice_about_tensors_gives_what_they_give(both: Both) -> None:
    import torch

    with pytest.raises(InputError, match="write torch") as refused:
        both.ours.encode(TEXTS, convert_to_tensor=True)
    advice = str(refused.value).partition("write ")[2].rstrip(".")
    found = eval(advice, {"torch": torch, "encoder": both.ours, "texts": TEXTS})
    torch.testing.assert_close(found, both.theirs.encode(TEXTS, convert_to_tensor=True), atol=1e-5, rtol=0)
