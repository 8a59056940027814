"""Static models: the mean of rows, tokens without special ones, texts of any length, nothing for a text without tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embermill.encoder import Encoder, ModelConfigError, WeightsError
from tests.encoder.families.static_folders import TEXTS, VOCABULARY, WIDTH, write_model2vec, write_static_embedding, write_tokenizer

READ, A, LIST = (VOCABULARY.index(word) for word in ("read", "a", "list"))
ING = VOCABULARY.index("##ing")


def embed(folder: Path, texts: list[str], **options: object) -> np.ndarray:
    with Encoder.from_pretrained(str(folder), device="cpu", threads=1, **options) as encoder:  # type: ignore[arg-type]
        return encoder.encode(texts)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def test_the_mean_of_the_tokens_rows(tmp_path: Path) -> None:
    table = write_static_embedding(tmp_path)
    found = embed(tmp_path, ["Reading a list", "", "   "])
    np.testing.assert_allclose(found[0], table[[READ, ING, A, LIST]].mean(axis=0), atol=1e-6)
    assert not found[1:].any()


@pytest.mark.parametrize("modules", [True, False], ids=["modules.json", "config.json alone"])
@pytest.mark.parametrize(("mapping", "weights"), [(True, True), (False, False), (False, True)])
def test_model2vec(tmp_path: Path, modules: bool, mapping: bool, weights: bool) -> None:
    table = write_model2vec(tmp_path, mapping=mapping, weights=weights, modules=modules)
    found = embed(tmp_path, ["Reading a list", ""])
    np.testing.assert_allclose(found[0], unit(table[[READ, ING, A, LIST]].mean(axis=0)), atol=1e-6)
    assert not found[1].any()


def test_any_length_unless_tokenizer_json_truncates(tmp_path: Path) -> None:
    table = write_static_embedding(tmp_path / "long")
    text = "read a " * 3000
    with Encoder.from_pretrained(str(tmp_path / "long"), device="cpu") as encoder:
        (batch,) = encoder.encode_stream([[text]])
    assert batch.num_tokens.tolist() == [6000] and batch.num_tokens_dropped.tolist() == [0]
    np.testing.assert_allclose(batch.embeddings[0], table[[READ, A]].mean(axis=0), atol=1e-5)
    write_static_embedding(tmp_path / "short", truncation=3)
    for options in ({}, {"max_tokens": 100}):
        with Encoder.from_pretrained(str(tmp_path / "short"), device="cpu", **options) as encoder:  # type: ignore[arg-type]
            (batch,) = encoder.encode_stream([[text]])
        assert batch.num_tokens.tolist() == [3] and batch.num_tokens_dropped.tolist() == [5997]
        np.testing.assert_allclose(batch.embeddings[0], table[[READ, A, READ]].mean(axis=0), atol=1e-6)


def test_alone_or_in_company_the_same_bits(tmp_path: Path) -> None:
    write_static_embedding(tmp_path, normalize=True)
    together = embed(tmp_path, TEXTS)
    for text, row in zip(TEXTS, together, strict=True):
        assert embed(tmp_path, [text])[0].tobytes() == row.tobytes()


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    write_model2vec(tmp_path)
    with pytest.raises(ModelConfigError, match="the mean of its tokens' vectors"):
        embed(tmp_path, ["a"], pooling="cls")
    tensors = load_file(tmp_path / "model.safetensors")
    save_file(tensors | {"more": tensors["weights"]}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"unexpected \(1\): more"):
        embed(tmp_path, ["a"])
    save_file(tensors | {"embeddings": np.zeros((19, WIDTH), np.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="embeddings of type I8"):
        embed(tmp_path, ["a"])
    save_file({"something": np.zeros((3, 3), np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelConfigError, match=r"a table of token vectors beside it, embedding.weight or embeddings, got something"):
        embed(tmp_path, ["a"])


def test_the_fingerprint_needs_no_tokenizer_settings(tmp_path: Path) -> None:
    write_static_embedding(tmp_path)
    with Encoder.from_pretrained(str(tmp_path), device="cpu") as encoder:
        first = encoder.fingerprint()
    assert first["max_tokens"] == str(2**31 - 1) and "tokenizer_settings" not in first
    write_tokenizer(tmp_path / "0_StaticEmbedding", truncation=9)
    with Encoder.from_pretrained(str(tmp_path), device="cpu") as encoder:
        assert encoder.fingerprint()["tokenizer"] != first["tokenizer"]


@pytest.mark.reference
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("layout", ["static", "static-truncated", "static-float16", "model2vec", "model2vec-plain"])
def test_against_sentence_transformers(tmp_path: Path, layout: str) -> None:
    from sentence_transformers import SentenceTransformer

    if layout.startswith("static"):
        dtype = np.float16 if layout.endswith("16") else np.float32
        write_static_embedding(tmp_path, truncation=5 if layout.endswith("truncated") else None, normalize=True, dtype=dtype)
    else:
        write_model2vec(tmp_path, mapping=layout == "model2vec", weights=layout == "model2vec")
    theirs = SentenceTransformer(str(tmp_path), device="cpu")
    in_float16 = layout.endswith(("float16", "plain"))  # they add a float16 table in float16, where a zero vector becomes NaN
    texts = [text for text in TEXTS if text.strip()] if in_float16 else TEXTS
    for prompt in ("", "read the "):
        expected = theirs.encode(texts, prompt=prompt or None).astype(np.float32)
        assert np.abs(embed(tmp_path, texts, prompt=prompt) - expected).max() <= (1e-3 if in_float16 else 1e-5)
