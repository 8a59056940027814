"""The Encoder as its callers see it: order, laziness, faults in their turn, options, and what it reports of itself."""

from __future__ import annotations

import gc
import hashlib
import itertools
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from embermill.encoder import DeviceError, EncodedBatch, Encoder, EncoderError, InputError, ModelConfigError, describe
from tests.encoder.tiny_bert import WORDS, TinyBert, write_sentence_transformers

BERT = TinyBert()


def texts(count: int, seed: int = 0) -> list[str]:
    """Texts of very different lengths, some empty, some longer than the model."""
    random = np.random.default_rng(seed)
    words = [word for word in WORDS if not word.startswith("#")]
    return [" ".join(random.choice(words, random.integers(0, 60))) for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sentence_transformers(
        BERT.write(tmp_path_factory.mktemp("model")), BERT.hidden, prompts={"query": "how do i ", "none": ""}, default_prompt=None, max_seq_length=30
    )


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Iterator[Encoder]:
    with Encoder.from_pretrained(str(folder), device="cpu", threads=2) as encoder:
        yield encoder


def test_a_document_alone_or_in_any_batch_has_the_same_bits(encoder: Encoder, folder: Path) -> None:
    given = texts(300)
    together = encoder.encode(given)
    assert together.shape == (300, 30) and together.dtype == np.float32
    for index in (0, 1, 7, 150, 299):
        np.testing.assert_array_equal(encoder.encode([given[index]])[0], together[index])
    order = np.random.default_rng(1).permutation(300)
    np.testing.assert_array_equal(encoder.encode([given[index] for index in order]), together[order])
    with Encoder.from_pretrained(str(folder), device="cpu", threads=1) as single:
        np.testing.assert_array_equal(single.encode(given), together)


@pytest.mark.parametrize("size", [1, 3, 100, 1000])
def test_a_stream_keeps_batches_and_order(encoder: Encoder, size: int) -> None:
    given = texts(400)
    expected = encoder.encode(given)
    batches = list(encoder.encode_stream(given[start : start + size] for start in range(0, 400, size)))
    assert [len(batch.embeddings) for batch in batches] == [len(given[start : start + size]) for start in range(0, 400, size)]
    np.testing.assert_array_equal(np.concatenate([batch.embeddings for batch in batches]), expected)
    for batch in batches:
        assert batch.num_tokens.dtype == batch.num_tokens_dropped.dtype == np.int32
        assert batch.num_tokens.shape == batch.num_tokens_dropped.shape == batch.embeddings.shape[:1]
    assert max(batch.num_tokens.max() for batch in batches) == 30


def test_counts_of_tokens(encoder: Encoder) -> None:
    [batch] = encoder.encode_stream([["the zip file", "", "the " * 40]])
    assert batch.num_tokens.tolist() == [5, 2, 30] and batch.num_tokens_dropped.tolist() == [0, 0, 12]


def test_nothing_and_next_to_nothing(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 30)
    assert encoder.encode([""]).shape == (1, 30)
    assert list(encoder.encode_stream([])) == []
    sizes = [len(batch.embeddings) for batch in encoder.encode_stream([[], ["a"], [], [], ["b", "c"], []])]
    assert sizes == [0, 1, 0, 0, 2, 0]
    np.testing.assert_array_equal(encoder.encode("the zip"), encoder.encode(["the zip"])[0])


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["the", "zip", ""]),
        pa.array(["the", "zip", ""], pa.large_string()),
        pa.array(["the", "zip", ""], pa.string_view()),
        pa.array(["the", "zip", ""]).dictionary_encode(),
        pa.chunked_array([["the"], [], ["zip", ""]]),
        pa.array(["no", "the", "zip", "", "no"]).slice(1, 3),
        ("the", "zip", ""),
        np.array(["the", "zip", ""], object),
    ],
    ids=lambda array: str(getattr(array, "type", type(array).__name__)),
)
def test_arrow_arrays_and_other_sequences(encoder: Encoder, array: Sequence[str]) -> None:
    np.testing.assert_array_equal(encoder.encode(array), encoder.encode(["the", "zip", ""]))


@pytest.mark.parametrize(("bad", "message"), [(None, "null"), (3, "int"), (b"x", "bytes"), ("\ud800", "lone surrogate")])
def test_what_is_not_text_is_named(encoder: Encoder, bad: object, message: str) -> None:
    with pytest.raises(InputError, match=f"text 2999:.*{message}"):
        encoder.encode([*["a"] * 2999, bad])  # type: ignore[list-item]
    assert encoder.encode(["a"]).shape == (1, 30)  # and the encoder goes on


@pytest.mark.parametrize("bad", [None, 7, b"bytes", {"a text"}, {"text": 1}, (text for text in ["a text"])])
def test_what_is_not_a_batch(encoder: Encoder, bad: object) -> None:
    with pytest.raises(InputError, match=f"expected a batch of texts .*, got {type(bad).__name__}"):
        next(encoder.encode_stream([bad]))  # type: ignore[list-item]


@pytest.mark.parametrize("bad", [None, 7, "a text", b"bytes", {"a": ["text"]}])
def test_what_holds_no_batches_is_refused_at_once(encoder: Encoder, bad: object) -> None:
    with pytest.raises(InputError, match=f"expected batches of texts .*, got {type(bad).__name__}"):
        encoder.encode_stream(bad)  # type: ignore[arg-type]


def test_the_callers_fault_comes_out_after_what_came_before_it(encoder: Encoder) -> None:
    def batches() -> Iterator[list[str]]:
        yield ["the"]
        yield ["zip", "file"]
        raise RuntimeError("the reader broke")

    arrived: list[EncodedBatch] = []
    with pytest.raises(RuntimeError, match="the reader broke"):
        for batch in encoder.encode_stream(batches()):
            arrived.append(batch)
    assert [len(batch.embeddings) for batch in arrived] == [1, 2]


def test_a_stream_reads_no_further_than_it_must(encoder: Encoder) -> None:
    read = itertools.count()
    taken = 0

    def batches() -> Iterator[list[str]]:
        while True:
            next(read)
            yield ["the zip file"] * 500

    stream = encoder.encode_stream(batches())
    for taken, _ in enumerate(stream, 1):
        if taken == 3:
            break
    stream.close()  # type: ignore[attr-defined]
    assert next(read) <= taken + 20
    assert encoder.encode(["a"]).shape == (1, 30)


def test_a_slow_caller_gets_what_is_ready_at_once(encoder: Encoder) -> None:
    """A batch that comes alone is not held back for another to fill its window."""
    answers: list[np.ndarray] = []
    asked = threading.Semaphore(0)

    def batches() -> Iterator[list[str]]:
        for text in ("the", "zip", "file"):
            yield [text]
            assert asked.acquire(timeout=30), "the next batch is asked for before this one is answered"

    for batch in encoder.encode_stream(batches()):
        answers.append(batch.embeddings)
        asked.release()
    np.testing.assert_array_equal(np.concatenate(answers), encoder.encode(["the", "zip", "file"]))


def test_several_threads_and_streams_at_once(encoder: Encoder) -> None:
    groups = [texts(60, seed) for seed in range(6)]
    expected = [encoder.encode(group) for group in groups]
    with ThreadPoolExecutor(6) as pool:
        for got, wanted in zip(pool.map(encoder.encode, groups), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    streams = [encoder.encode_stream([group[:30], group[30:]]) for group in groups]
    firsts = [next(stream).embeddings for stream in streams]
    seconds = [next(stream).embeddings for stream in streams]
    for first, second, wanted in zip(firsts, seconds, expected, strict=True):
        np.testing.assert_array_equal(np.concatenate([first, second]), wanted)


def test_a_closed_encoder_says_so(folder: Path) -> None:
    encoder = Encoder.from_pretrained(str(folder), device="cpu", threads=1)
    encoder.close()
    encoder.close()
    with pytest.raises(RuntimeError, match="closed"):
        encoder.encode(["the"])


def test_an_encoder_that_is_dropped_ends_its_threads(folder: Path) -> None:
    before = set(threading.enumerate())
    encoder = Encoder.from_pretrained(str(folder), device="cpu", threads=1)
    encoder.encode(["the"])
    threads = [thread for thread in set(threading.enumerate()) - before if thread.name in ("encoder-submit", "encoder-collect")]
    assert len(threads) == 2
    del encoder
    gc.collect()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_token_ids_as_lists_and_flat(encoder: Encoder) -> None:
    documents = [[2, 5, 3], [2, 3], [2, *range(5, 30), 3]] * 40
    lists = encoder.encode_token_ids(documents)
    flat = np.concatenate([np.array(document) for document in documents])
    offsets = np.concatenate([[0], np.cumsum([len(document) for document in documents])])
    for dtype in (np.int32, np.int64, np.uint16):
        np.testing.assert_array_equal(encoder.encode_token_ids(flat.astype(dtype), offsets), lists)
    np.testing.assert_array_equal(encoder.encode_token_ids(np.array([[2, 5, 3], [2, 6, 3]]))[0], lists[0])
    np.testing.assert_array_equal(encoder.encode_token_ids(documents[1:2])[0], lists[1])
    assert encoder.encode_token_ids([]).shape == encoder.encode_token_ids(np.empty(0, np.int32), np.zeros(1, np.int64)).shape == (0, 30)


def test_texts_and_their_token_ids_agree(encoder: Encoder) -> None:
    ids = [2, BERT.vocab.index("the"), BERT.vocab.index("zip"), 3]
    np.testing.assert_array_equal(encoder.encode_token_ids([ids]), encoder.encode(["the zip"]))


@pytest.mark.parametrize(
    ("ids", "offsets", "message"),
    [
        ([[2, 3], []], None, "document 1: no token ids"),
        ([[2, 3], [5] * 41], None, "document 1: 41 token ids; this model has positions for 40"),
        ([[2, 3], [], [4, 99]], None, "document 1: no token ids"),
        ([[2, 3], [4, 99]], None, "document 1: token id 99; this model's vocabulary has ids from 0 to"),
        ([[-1]], None, "document 0: token id -1"),
        ([[2.5]], None, "whole-number token ids"),
        (np.array([2, 3]), None, r"flat array with offsets="),
        (np.array([2, 3]), [0, 1], "rise from 0 to 2"),
        (np.array([2, 3]), [0, 2, 1, 2], "rise from 0 to 2"),
        (np.array([2, 3]), [], "rise from 0 to 2"),
        (np.array([[2, 3]]), [0, 2], "whole-number token ids"),
        (None, None, "expected lists of token ids, .*; got NoneType"),
        ("ids", None, "expected lists of token ids, .*; got str"),
        ([[2, 3], 2], None, "document 1: expected a flat list of token ids, got 2"),
        ([[2, 3], "ids"], None, "document 1: expected a flat list of token ids, got 'ids'"),
        ([[2, [3]]], None, r"document 0: expected a flat list of token ids, got \[2, \[3\]\]"),
    ],
)
def test_token_ids_that_cannot_be_embedded(encoder: Encoder, ids: object, offsets: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encoder.encode_token_ids(ids, offsets)  # type: ignore[arg-type]


def test_a_model_without_a_tokenizer_takes_ids_only(tmp_path: Path) -> None:
    folder = BERT.write(tmp_path, tokenizer=False)
    with Encoder.from_pretrained(str(folder), device="cpu", threads=1) as encoder:
        assert encoder.max_tokens == 40 and encoder.fingerprint()["tokenizer"] == ""
        assert encoder.encode_token_ids([[2, 3]]).shape == (1, 30)
        with pytest.raises(EncoderError, match=r"no tokenizer\.json"):
            encoder.encode(["the"])


def test_prompts_by_name_by_text_and_none(folder: Path) -> None:
    def embed(given: str, **options: object) -> np.ndarray:
        with Encoder.from_pretrained(str(folder), device="cpu", threads=1, **options) as encoder:  # type: ignore[arg-type]
            return encoder.encode([given])

    np.testing.assert_array_equal(embed("open a zip", prompt="query"), embed("how do i open a zip"))
    np.testing.assert_array_equal(embed("open a zip", prompt="how do i "), embed("how do i open a zip"))
    np.testing.assert_array_equal(embed("open a zip", prompt="none"), embed("open a zip"))
    np.testing.assert_array_equal(embed("open a zip", prompt=""), embed("open a zip"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "how do i " * 100}, "the prompt takes 300 tokens and special tokens take 2, but max_tokens is 30: nothing of a text"),
        ({"prompt": "query", "max_tokens": 5}, "the prompt takes 3 tokens .* max_tokens is 5"),
        ({"max_tokens": 2}, "special tokens take 2, but max_tokens is 2: nothing of a text would be left"),
    ],
)
def test_an_encoder_that_would_see_nothing_of_a_text_is_not_opened(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelConfigError, match=message):
        Encoder.from_pretrained(str(folder), device="cpu", threads=1, **options)


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [
        ("float16", "cpu", "does not exist on a CPU"),
        ("fp8", "cpu", "does not exist on a CPU in this version; available are auto, float32, bfloat16, int8"),
        ("fp8", "auto", "does not exist on a"),
        ("float8", "cpu", "expected one of auto, float32"),
        ("auto", "tpu", "expected one of auto, cpu, gpu"),
    ],
)
def test_devices_and_precisions_that_do_not_exist(folder: Path, precision: str, device: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        Encoder.from_pretrained(str(folder), device=device, precision=precision)


@pytest.mark.parametrize("threads", [1025, 0, -1, 1.5, "2", True])
def test_no_number_of_threads(folder: Path, threads: Any) -> None:
    with pytest.raises(DeviceError, match=f"threads={threads!r}: expected a whole number from 1 to 1024"):
        Encoder.from_pretrained(str(folder), device="cpu", threads=threads)


def test_what_it_reports_of_itself(encoder: Encoder, folder: Path) -> None:
    assert (encoder.dimension, encoder.max_tokens, encoder.precision, encoder.device.kind) == (30, 30, "float32", "cpu")
    assert "numpy" in encoder.kernel_set
    before = encoder.busy_seconds
    encoder.encode(texts(50))
    after = encoder.busy_seconds
    assert all(after[stage] > before[stage] for stage in ("tokenize", "encode"))
    fingerprint = encoder.fingerprint()
    assert fingerprint["weights"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert fingerprint["tokenizer"] == hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    described = describe(str(folder))
    assert described.fingerprint("float32") == fingerprint
    assert described.fingerprint() == {key: value for key, value in fingerprint.items() if key != "precision"}
    assert all(isinstance(value, str) for value in fingerprint.values())


def test_whatever_changes_the_vectors_changes_the_fingerprint(tmp_path: Path) -> None:
    folder = str(write_sentence_transformers(BERT.write(tmp_path), BERT.hidden, dense=[(8, "torch.nn.modules.activation.Tanh", True)]))
    first = describe(folder).fingerprint()

    def differing(**options: object) -> set[str]:
        now = describe(folder, **options).fingerprint()  # type: ignore[arg-type]
        return {key for key in first if now[key] != first[key]}

    assert differing() == set()
    assert differing(pooling="cls") == {"pooling"}
    assert differing(normalize=False) == {"normalize"}
    assert differing(prompt="x") == {"prompt"}
    assert differing(max_tokens=12) == {"max_tokens"}
    assert differing(dimensions=3) == {"dimensions"}
    for file, key in (("2_Dense/model.safetensors", "weights"), ("model.safetensors", "weights"), ("tokenizer.json", "tokenizer")):
        content = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(content + b" ")
        assert differing() == {key}
        (tmp_path / file).write_bytes(content)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace("1e-12", "1e-05"))
    assert differing() == {"config"}


def imported_by(script: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", f"import sys\n{script}\nprint(*sys.modules)"], capture_output=True, text=True, timeout=60, check=True)
    return {name.split(".")[0] for name in done.stdout.split()} | {name for name in done.stdout.split() if name.startswith("embermill.encoder.")}


def test_importing_costs_nothing() -> None:
    heavy = {"tokenizers", "huggingface_hub", "pyarrow", "obstore", "cupy", "ray"}
    assert not imported_by("import embermill.encoder") & {*heavy, "numpy", "embermill.encoder.encoder"}
    assert not imported_by("from embermill.encoder import Encoder") & {*heavy, "ml_dtypes", "safetensors"}


def test_describing_touches_neither_backends_nor_weights(folder: Path) -> None:
    loaded = imported_by(f"from embermill.encoder import describe; describe({str(folder)!r}).fingerprint()")
    ours = {f"embermill.encoder.{name}" for name in ("backends", "encoder", "device", "weights.safetensors.file", "ops.reference")}
    assert not loaded & {"threadpoolctl", *ours}  # `tokenizers` says whether the files beside tokenizer.json change what it gives


@pytest.mark.parametrize("tokenizer", [None, "no JSON"])
def test_embedding_ids_needs_no_tokenizer(folder: Path, tmp_path: Path, tokenizer: str | None) -> None:
    shutil.copytree(folder, tmp_path / "model")
    for name in ("tokenizer.json", "vocab.txt"):
        (tmp_path / "model" / name).unlink(missing_ok=True)
    if tokenizer is not None:
        (tmp_path / "model/tokenizer.json").write_text(tokenizer)
    with Encoder.from_pretrained(folder, device="cpu", threads=1) as whole, Encoder.from_pretrained(tmp_path / "model", device="cpu", threads=1) as without:
        np.testing.assert_array_equal(without.encode_token_ids([[2, 3]]), whole.encode_token_ids([[2, 3]]))
        with pytest.raises(EncoderError):
            without.encode(["a text"])
