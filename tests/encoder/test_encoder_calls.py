"""What a call of `encode` may say: one text, any iterable, prompts, truncation, normalisation, and which habits of sentence-transformers have no meaning."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file

from embermill.encoder import Encoder, InputError, ModelConfigError, SourceError
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers

TEXTS = ["how do i open a zip file", "the model", "", "list of texts"]
PROMPTS = {"query": "how do i ", "passage": "the "}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = TinyBert().write(tmp_path_factory.mktemp("calls") / "model")
    return write_sentence_transformers(folder, TinyBert().hidden, prompts=PROMPTS, normalize=False)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Iterator[Encoder]:
    with Encoder.from_pretrained(folder, device="cpu", threads=1) as encoder:
        yield encoder


def test_one_text_is_one_vector(encoder: Encoder) -> None:
    whole = encoder.encode(TEXTS)
    assert whole.shape == (4, 30) and encoder.encode(TEXTS[0]).shape == (30,)
    np.testing.assert_array_equal(encoder.encode(TEXTS[0]), whole[0])
    np.testing.assert_array_equal(encoder.encode(TEXTS[0], truncate_dim=3, normalize_embeddings=True).shape, (3,))


@pytest.mark.parametrize(
    "given",
    [tuple(TEXTS), (text for text in TEXTS), dict.fromkeys(TEXTS).keys(), np.array(TEXTS), pa.array(TEXTS), iter(TEXTS)],
    ids=lambda given: type(given).__name__,
)
def test_any_iterable(encoder: Encoder, given: Any) -> None:
    np.testing.assert_array_equal(encoder.encode(given), encoder.encode(TEXTS))


@pytest.mark.parametrize("bad", [None, 7, b"bytes", {"text": 1}])
def test_what_holds_no_texts(encoder: Encoder, bad: Any) -> None:
    with pytest.raises(InputError, match=f"expected texts .*, got {type(bad).__name__}"):
        encoder.encode(bad)


def test_prompts(encoder: Encoder) -> None:
    with_prompt = encoder.encode([PROMPTS["query"] + text for text in TEXTS])
    for found in (encoder.encode(TEXTS, prompt_name="query"), encoder.encode(TEXTS, prompt=PROMPTS["query"]), encoder.encode_query(TEXTS)):
        np.testing.assert_array_equal(found, with_prompt)
    np.testing.assert_array_equal(encoder.encode_document(TEXTS), encoder.encode(TEXTS, prompt=""))
    np.testing.assert_array_equal(encoder.encode(TEXTS, prompt="the ", prompt_name="nothing"), encoder.encode(["the " + text for text in TEXTS]))
    np.testing.assert_array_equal(encoder.encode(TEXTS, prompt="query"), encoder.encode(["query" + text for text in TEXTS]), "a prompt is text only")
    with pytest.raises(InputError, match=r"prompt_name='nothing': this model's prompts are: passage, query; give the text itself as prompt="):
        encoder.encode(TEXTS, prompt_name="nothing")
    np.testing.assert_array_equal(encoder.encode(TEXTS, prompt_name="document"), encoder.encode(TEXTS, prompt=""), "always known, as in sentence-transformers")
    with pytest.raises(InputError, match="prompt=3: expected a string"):
        encoder.encode(TEXTS, prompt=3)  # type: ignore[arg-type]
    with pytest.raises(ModelConfigError, match="nothing of a text would be left"):
        encoder.encode(TEXTS, prompt="the " * 60)


def test_an_encoders_own_prompt_stays_where_a_call_names_none(folder: Path, encoder: Encoder) -> None:
    with Encoder.from_pretrained(folder, device="cpu", threads=1, prompt="passage") as with_prompt:
        np.testing.assert_array_equal(with_prompt.encode(TEXTS), encoder.encode(TEXTS, prompt_name="passage"))
        np.testing.assert_array_equal(with_prompt.encode(TEXTS, prompt=""), encoder.encode(TEXTS))
        np.testing.assert_array_equal(with_prompt.encode_query(TEXTS), encoder.encode_query(TEXTS))


def test_many_prompts_are_not_kept_for_ever(encoder: Encoder) -> None:
    for number in range(150):
        encoder.encode("the", prompt="a" * number)
    assert len(encoder._tokenizer) < 100
    assert encoder.encode("the", prompt="a").shape == (30,)


def test_truncation_and_norm(encoder: Encoder) -> None:
    whole = encoder.encode(TEXTS)
    np.testing.assert_array_equal(encoder.encode(TEXTS, truncate_dim=5), whole[:, :5])
    np.testing.assert_array_equal(encoder.encode(TEXTS, truncate_dim=500), whole)
    np.testing.assert_array_equal(encoder.encode(TEXTS, normalize_embeddings=False), whole)
    both = encoder.encode(TEXTS, truncate_dim=5, normalize_embeddings=True)
    np.testing.assert_allclose(both, whole[:, :5] / np.linalg.norm(whole[:, :5], axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(encoder.encode(TEXTS, batch_size=1), whole)


@pytest.mark.parametrize("name", ["batch_size", "truncate_dim"])
@pytest.mark.parametrize("value", [0, -3, 1.5, "8", True])
def test_numbers_that_make_no_sense(encoder: Encoder, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"{name}={value!r}: expected a whole number from 1 up"):
        encoder.encode(TEXTS, **{name: value})


def test_a_progress_bar(encoder: Encoder) -> None:
    texts = TEXTS * 700
    with redirect_stderr(io.StringIO()) as shown:
        found = encoder.encode(texts, show_progress_bar=True)
    assert "2800/2800" in shown.getvalue()
    with redirect_stderr(io.StringIO()) as nothing:
        np.testing.assert_array_equal(encoder.encode(texts), found)
        assert encoder.encode([], show_progress_bar=False).shape == (0, 30)
    assert nothing.getvalue() == ""
    with redirect_stderr(io.StringIO()):
        assert encoder.encode([], show_progress_bar=True).shape == (0, 30)


def test_similarity(encoder: Encoder) -> None:
    one, other = encoder.encode(TEXTS), encoder.encode(TEXTS[:2])
    scores = encoder.similarity(one, other)
    assert scores.shape == (4, 2) and scores.dtype == np.float32 and scores[0, 0] == pytest.approx(1, abs=1e-6)
    assert encoder.similarity(one[0], other[0]).shape == (1, 1)
    with pytest.raises(InputError, match=r"shapes \[4, 30\] and \[4, 5\]"):
        encoder.similarity(one, one[:, :5])


@pytest.mark.parametrize(
    ("habit", "advice"),
    [
        ({"convert_to_tensor": True}, "write torch.from_numpy(encoder.encode(texts))"),
        ({"convert_to_numpy": False}, "write torch.from_numpy(encoder.encode(texts)) for a tensor"),
        ({"output_value": "token_embeddings"}, "leave output_value out"),
        ({"device": "cuda"}, 'Encoder.from_pretrained(source, device="gpu")'),
        ({"pool": {}}, "`embermill run` embeds a corpus on several"),
        ({"precision": "ubinary"}, "write np.packbits(vectors > 0, axis=-1)"),
        ({"precision": "int8"}, "quantize_embeddings(vectors, precision=\"int8\""),
        ({"precision": "float16"}, "from_pretrained(source, precision=...)"),
        ({"sentences": TEXTS}, "give the texts as the first argument"),
    ],
    ids=str,
)
def test_habits_that_have_no_meaning_here_say_what_to_write(encoder: Encoder, habit: dict[str, Any], advice: str) -> None:
    with pytest.raises(InputError) as refused:
        encoder.encode(TEXTS, **habit)
    assert advice in str(refused.value)


def test_habits_that_ask_for_what_is_done_anyway(encoder: Encoder) -> None:
    habits: dict[str, Any] = {"convert_to_numpy": True, "convert_to_tensor": False, "output_value": "sentence_embedding", "device": None}
    habits["precision"] = "float32"
    np.testing.assert_array_equal(encoder.encode(TEXTS, **habits), encoder.encode(TEXTS))
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        encoder.encode(TEXTS, batchsize=3)


@pytest.mark.parametrize(
    ("name", "advice"), [("max_seq_length", "encoder.max_tokens"), ("get_sentence_embedding_dimension", "encoder.dimension"), ("half", 'precision="float16"')]
)
def test_attributes_of_theirs(encoder: Encoder, name: str, advice: str) -> None:
    with pytest.raises(AttributeError, match=advice):
        getattr(encoder, name)
    assert not hasattr(encoder, "nothing_at_all")


def test_their_constructor(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"write Encoder\.from_pretrained\("):
        Encoder(str(folder))  # type: ignore[arg-type, call-arg]
    with pytest.raises(TypeError, match="unexpected option 'max_seq_length': expected one of device, precision, threads, weights"):
        Encoder.from_pretrained(folder, max_seq_length=3)  # type: ignore[call-arg]


def test_repr_says_model_device_precision_and_dimension(encoder: Encoder, folder: Path) -> None:
    assert repr(encoder) == f"Encoder({str(folder)!r}, device='cpu', precision='float32', dimension=30)"


def test_a_pickle_opens_the_same_model_in_another_process(folder: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"prompt": "query", "dimensions": 7, "normalize": True, "max_tokens": 12, "pooling": "cls"}
    with Encoder.from_pretrained(folder, device="cpu", threads=1, **options) as encoder:
        (tmp_path / "encoder.pickle").write_bytes(pickle.dumps(encoder))
        expected, fingerprint = encoder.encode(TEXTS), encoder.fingerprint()
    ask = (
        "import pickle, sys, json; e = pickle.load(open(sys.argv[1], 'rb'));"
        f"print(json.dumps([e.encode({TEXTS!r}).tolist(), e.fingerprint(), e.threads]))"
    )
    done = subprocess.run([sys.executable, "-c", ask, str(tmp_path / "encoder.pickle")], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    import json

    vectors, digests, threads = json.loads(done.stdout)
    np.testing.assert_array_equal(np.array(vectors, np.float32), expected)
    assert digests == fingerprint and threads == 1


def test_a_pickle_of_a_model_that_was_changed_since_is_refused(tmp_path: Path) -> None:
    folder = TinyBert().write(tmp_path / "model")
    with Encoder.from_pretrained(folder, device="cpu", threads=1) as encoder:
        pickled = pickle.dumps(encoder)
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] += 1
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(SourceError, match=r"this is another model than the one that this Encoder was pickled with \(weights differ\)"):
        pickle.loads(pickled)
