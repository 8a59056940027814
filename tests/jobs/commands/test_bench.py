"""`embermill bench` through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from embermill.jobs import cli
from embermill.jobs.process.device_tuning import DEVICE_TUNING
from tests.jobs.commands.answers import MODEL, answer


def test_bench_counts_real_tokens(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made_up = answer(capsys, "bench", MODEL, "--device", "cpu", "--lengths", "32", "--documents", "4", "--repeats", "1")
    assert (made_up["documents"], made_up["tokens"], made_up["longest"]) == (4, 4 * 32, 32)
    texts = tmp_path / "texts.txt"
    texts.write_text("one two\nthree\n", encoding="utf-8")
    given = answer(capsys, "bench", MODEL, "--device", "cpu", "--texts", str(texts), "--repeats", "1")
    assert (given["documents"], given["tokens"]) == (2, 4 + 3)
    assert min(float(str(given[rate])) for rate in ("encode_tokens_per_s", "tokenize_tokens_per_s", "text_tokens_per_s")) > 0


def test_texts_to_stored_shards(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.commands.bench.STORED_S", 0.01)
    given = ["bench", MODEL, "--device", "cpu", "--lengths", "32", "--documents", "4", "--repeats", "1"]
    given += ["--text", "--at", str(tmp_path), "--price-per-hour", "3.6"]
    found = answer(capsys, *given)
    stored = found["stored"]
    assert isinstance(stored, dict) and stored["rows"] >= 4 and stored["tokens"] >= 32 * 4 and stored["stored_bytes"] > 4 * 384 * 4
    assert stored["bound"] in ("reader", "tokenizer", "encoder", "writer") and set(stored["busy"]) == {"reader", "tokenizer", "encoder", "writer"}
    assert float(str(found["price_per_million_rows"])) == pytest.approx(1000 / stored["rows_per_s"], rel=1e-3)
    assert not [*tmp_path.iterdir()], "corpus and shards are removed"
    assert cli.main(given) == 0
    shown = capsys.readouterr().out
    assert "bottleneck" in shown and "for a million rows" in shown


@pytest.mark.long
def test_bench_without_a_model_measures_random_ones(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DEVICE_TUNING, "cpu", DEVICE_TUNING["cpu"]._replace(bench_tokens=512))
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
        (["--text"], ["--text", "MODEL"]),
        ([MODEL, "--price-per-hour", "3"], ["--price-per-hour", "--text"]),
        ([MODEL, "--text", "--at", "/nowhere", "--device", "cpu", "--documents", "1", "--lengths", "8", "--repeats", "1"], ["--at /nowhere"]),
        ([MODEL, "--shape", "bert-base"], ["--shape", "MODEL"]),
        ([MODEL, "--texts", "a.txt", "--documents", "3"], ["--documents", "--texts"]),
        ([MODEL, "--lengths", "257", "--device", "cpu"], ["--lengths 257", "256 tokens at most"]),
        ([MODEL, "--lengths", "33", "--max-tokens", "32", "--device", "cpu"], ["--lengths 33", "32 tokens at most"]),
    ],
)
def test_an_option_of_bench_without_effect_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]) -> None:
    error = str(answer(capsys, "bench", *arguments, code=2)["error"])
    assert all(part in error for part in parts), error
