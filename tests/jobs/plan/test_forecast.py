"""The dry run tells what a run would do, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embermill.jobs.engine import Preview
from embermill.jobs.plan.forecast import forecast
from tests.jobs.plan.plans import OUTPUTS, job, lines, prospect, table


class TestForecast:
    def test_of_parquet(self, tmp_path: Path) -> None:
        texts = ["word " * (n % 10 + 1) for n in range(1000)]
        table(tmp_path / "corpus/a.parquet", id=list(range(1000)), text=texts)
        engine = Preview(OUTPUTS, lambda batch: np.array([len(text.split()) for text in batch]))
        found = forecast(job(tmp_path), prospect(job(tmp_path), engine), tokens_per_s=1000.0)
        assert (found.files, found.rows, found.rows_exact, found.partitions, found.device) == (1, 1000, True, 1, "cpu")
        assert found.percentiles["max"] == 10 and sum(count for _, count in found.lengths) == found.sampled_texts > 0
        assert found.tokens == pytest.approx(5500, rel=0.2) and found.seconds == found.tokens / 1000 and 50_000 < (found.output_bytes or 0) < 200_000
        assert json.loads(json.dumps(found.to_json()))["rows"] == 1000

    def test_of_lines_without_a_tokenizer(self, tmp_path: Path) -> None:
        lines(tmp_path / "corpus/a.jsonl", *({"id": str(n), "text": "x" * 100, "other": "y" * 300} for n in range(10_000)))
        found = forecast(job(tmp_path), prospect(job(tmp_path)))
        assert found.rows == pytest.approx(10_000, rel=0.01) and not found.rows_exact and found.lengths == ()
        assert found.text_bytes == pytest.approx(1_000_000, rel=0.05) and found.tokens == pytest.approx(250_000, rel=0.05) and found.output_bytes is None

    @pytest.mark.parametrize("sizes", [[10], [3, 3, 3], [1_000_000, 5], [5, 1_000_000, 5]])
    def test_rows_of_a_corpus_that_was_read_whole_are_counted(self, tmp_path: Path, sizes: list[int]) -> None:
        """One row has no distance to the next, and a partition may lie within one."""
        lines(tmp_path / "corpus/a.jsonl", *({"id": str(n), "text": "x" * size} for n, size in enumerate(sizes)))
        engine = Preview(OUTPUTS, lambda batch: np.array([min(len(text), 200) for text in batch]))
        found = forecast(job(tmp_path), prospect(job(tmp_path), engine))
        assert (found.rows, found.sampled_texts, found.tokens) == (len(sizes), len(sizes), sum(min(size, 200) for size in sizes))

    def test_a_row_has_no_more_tokens_than_the_model_takes(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=list(range(10)), text=["x"] * 9 + ["word " * 100_000])
        engine = Preview(count_tokens=lambda batch: np.array([min(len(text.split()), 256) for text in batch]), max_tokens=256)
        found = forecast(job(tmp_path), prospect(job(tmp_path), engine))
        assert found.tokens <= 10 * 256

    @pytest.mark.parametrize("form", ["parquet", "jsonl"])
    @pytest.mark.parametrize("kind", ["short", "longer and longer"])
    def test_tokens_of_a_corpus_that_is_not_all_alike(self, tmp_path: Path, form: str, kind: str) -> None:
        """Footers count more bytes than texts have, a file's beginning need not be like its end, and partitions hold more rows where texts are short."""
        words = {"short": lambda n: 2, "longer and longer": lambda n: 1 + n // 100}[kind]
        texts = ["word " * words(n) for n in range(20_000)]
        if form == "parquet":
            table(tmp_path / "corpus/a.parquet", id=list(range(20_000)), text=texts)
        else:
            lines(tmp_path / "corpus/a.jsonl", *({"id": str(n), "text": text} for n, text in enumerate(texts)))
        engine = Preview(OUTPUTS, lambda batch: np.array([len(text.split()) for text in batch]))
        settings = job(tmp_path, corpus={"partition_text_bytes": 65_536})
        assert forecast(settings, prospect(settings, engine)).tokens == pytest.approx(sum(map(words, range(20_000))), rel=0.15)

    def test_writes_nothing(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=[1], text=["x"])
        forecast(job(tmp_path), prospect(job(tmp_path)))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]

    def test_cuts_as_the_device_wants_it(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=list(range(100)), text=["x" * 10_000] * 100)
        on_cpu, on_gpu = (forecast(job(tmp_path), prospect(job(tmp_path), device=device)) for device in ("cpu", "gpu"))
        assert (on_cpu.device, on_gpu.device) == ("cpu", "gpu") and on_cpu.partitions > on_gpu.partitions

    def test_what_would_be_refused_of_the_sample_is_told(self, tmp_path: Path) -> None:
        documents(tmp_path, {f"{n:02}.md": "word " * 10 for n in range(18)} | {"big.md": "word " * 1000})
        settings = job(tmp_path, corpus={"max_text_bytes": 4000})
        found = forecast(settings, prospect(settings, WORDS))
        assert found.refused is not None and (found.refused["rows"], found.refused["reason"], found.sampled_texts) == (1, "text_too_long", 18)
        assert str(found.refused["file"]).endswith("big.md") and forecast(job(tmp_path), prospect(job(tmp_path), WORDS)).refused is None

    def test_one_large_document_behind_many_small_ones_is_sampled(self, tmp_path: Path) -> None:
        documents(tmp_path, {f"{n:03}.md": "word " * 10 for n in range(200)} | {"large.md": "word " * 20_000})
        found = forecast(job(tmp_path), prospect(job(tmp_path), WORDS, device="gpu"))
        assert (found.rows, found.partitions, found.tokens) == (201, 1, 22_000) and found.percentiles["max"] >= 20_000

    @pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
    def test_partitions_that_are_smaller_than_a_row(self, tmp_path: Path, name: str) -> None:
        lines(tmp_path / "corpus" / name, *({"id": str(n), "text": f"some text of row {n}"} for n in range(20)))
        settings = job(tmp_path, corpus={"partition_text_bytes": 1})
        found = forecast(settings, prospect(settings, WORDS))
        assert (found.rows, found.sampled_texts) == (20, 20) and found.partitions > 20


WORDS = Preview(OUTPUTS, lambda batch: np.array([len(text.split()) for text in batch]))


def documents(folder: Path, files: dict[str, str]) -> None:
    (folder / "corpus").mkdir()
    for name, text in files.items():
        (folder / "corpus" / name).write_text(text)
