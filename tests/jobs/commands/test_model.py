"""encode and search through the command line, with the real model that the tests have."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embermill.encoder import Encoder
from embermill.jobs import cli
from tests.encoder.tiny_bert import TinyBert
from tests.jobs.command_line import Answer
from tests.jobs.commands.answers import MODEL, answer

TEXTS = ["how do I open a zip file", "", "naïve café 🙂"]


def test_encode_gives_the_encoders_own_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "encode", MODEL, "--device", "cpu", "--threads", "1", *(part for text in TEXTS for part in ("--text", text)))
    with Encoder.from_pretrained(MODEL, device="cpu", threads=1) as encoder:
        expected = next(encoder.encode_stream([TEXTS]))
    np.testing.assert_array_equal(np.array(found["embeddings"], np.float32), expected.embeddings)
    assert (found["num_tokens"], found["dimensions"]) == (expected.num_tokens.tolist(), 384)


def test_encode_reads_a_text_a_line_from_stdin(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    given = answer(capsys, "encode", MODEL, "--device", "cpu", "--text", "one", "--text", "two")
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert answer(capsys, "encode", MODEL, "--device", "cpu") == given


@pytest.mark.parametrize("locale", ["utf-8", "latin-1"])
def test_lines_of_stdin_are_utf8_whatever_the_locale(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    """And end as those of a corpus do: a lone carriage return is part of a text."""
    given = answer(capsys, "encode", MODEL, "--device", "cpu", "--text", "café\rau lait", "--text", "two")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("café\rau lait\r\ntwo".encode()), encoding=locale))
    assert answer(capsys, "encode", MODEL, "--device", "cpu") == given
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"one\n\xff\n"), encoding=locale))
    assert "stdin: expected texts in UTF-8" in str(answer(capsys, "encode", MODEL, "--device", "cpu", code=3)["error"])


def test_encode_in_words_is_a_vector_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["encode", MODEL, "--device", "cpu", "--dimensions", "3", "--text", "one", "--text", "two"]) == 0
    vectors = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6) and len(vectors[0]) == 3


def test_no_text_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli.main(["encode", MODEL, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == ""


def test_search_says_what_a_converted_copy_lacks(capsys: pytest.CaptureFixture[str], embed: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "the zip file"}\n')
    model = TinyBert().write(tmp_path / "model")
    made = embed(engine=None, model={"engine": "native", "source": str(model)}, corpus={"files": [str(tmp_path / "a.jsonl")]})
    assert made.code == 0, made.errors
    answer(capsys, "convert", str(model), str(tmp_path / "copy"), "--to", "bpk")
    error = str(answer(capsys, "search", str(made.output), "zip", "--model", str(tmp_path / "copy"), code=2)["error"])
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert "pass the model that made it, unchanged, with --model" in error and "a converted copy has another digest" in error and weights in error
    moved = model.rename(tmp_path / "moved")
    error = str(answer(capsys, "search", str(made.output), "zip \udcff", "--model", str(moved), "--device", "cpu", code=3)["error"])
    assert "not valid Unicode" in error and "at character 4" in error
    hits = answer(capsys, "search", str(made.output), "zip", "--model", str(moved), "--device", "cpu")["hits"]
    assert isinstance(hits, list) and hits[0]["columns"]["id"] == "a"


def test_search_wants_a_dataset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "embermill run" in str(answer(capsys, "search", str(tmp_path), "a question", code=2)["error"])


def test_vectors_that_are_not_finite_are_refused_as_a_run_refuses_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = TinyBert().write(tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][5:] = np.nan
    save_file(weights, model / "model.safetensors")
    said = answer(capsys, "encode", str(model), "--device", "cpu", "--text", "", "--text", "zip file", code=3)
    assert "text 2 of 2: the model gave nan in 30 of 30 places" in said["error"]["message"]  # type: ignore[index]
