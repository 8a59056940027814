"""bfloat16 and int8 on a CPU: measured against float32 on the corpus before anything is written, said, and refused under model.min_cosine."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.commands.answers import show_plan
from embermill.jobs.config import JobConfig
from embermill.jobs.plan.listing import survey_files
from embermill.jobs.plan.planning import row_schema
from embermill.jobs.stages.closeness import SAMPLED_TEXTS, sample_texts
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers
from tests.jobs.command_line import Answer

BERT = TinyBert()
Embed = Callable[..., Answer]


@pytest.fixture
def model(tmp_path: Path) -> str:
    write_sentence_transformers(BERT.write(tmp_path / "model"), BERT.hidden)
    (tmp_path / "corpus").mkdir()
    texts = [f"open a zip file {'and read it ' * (row % 7)}" for row in range(40)]
    pq.write_table(pa.table({"id": [str(row) for row in range(40)], "text": texts}), tmp_path / "corpus/a.parquet")
    return str(tmp_path / "model")


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_a_plan_and_a_run_say_how_near_it_comes(embed: Embed, model: str, precision: str, caplog: pytest.LogCaptureFixture) -> None:
    wanted = {"engine": "native", "source": model, "precision": precision, "min_cosine": 0.5}
    plan = embed(engine=None, model=wanted, workers={"device": "cpu"}, name="plan")
    found = plan["closeness"]
    assert 0.9 < found["least_cosine"] <= found["mean_cosine"] < 1 and found["computed_by"].startswith(f"{precision} by ")
    assert f"least cosine to float32 {found['least_cosine']:.4f}" in show_plan(json.loads(plan.stdout))
    caplog.clear()
    ran = embed(engine=None, model=wanted, workers={"device": "cpu"})
    assert ran.code == 0, ran
    assert f"{found['computed_by']}: least cosine to float32 {found['least_cosine']:.4f}" in caplog.text and "on 40 texts of this corpus" in caplog.text
    caplog.clear()
    again = embed(engine=None, model=wanted | {"min_cosine": 1.0}, workers={"device": "cpu"})
    assert again.code == 0 and "least cosine" not in caplog.text, "an existing dataset was judged when it was begun"


def test_under_the_least_cosine_nothing_is_written(embed: Embed, model: str, tmp_path: Path) -> None:
    """The advice is followed: float32, or a lower limit."""
    wanted = {"engine": "native", "source": model, "precision": "int8", "min_cosine": 1.0}
    for name in ("plan", "run"):
        refused = embed(engine=None, model=wanted, workers={"device": "cpu"}, name=name)
        assert refused.code == 2 and "model.precision: int8: least cosine to float32 0.9" in refused.stdout + refused.errors
        assert "model.min_cosine asks for 1: choose another precision (float32 loses nothing)" in refused.stdout + refused.errors
    assert not (tmp_path / "out").exists()
    assert embed(engine=None, model=wanted | {"precision": "float32"}, workers={"device": "cpu"}, output="float32").code == 0
    assert embed(engine=None, model=wanted | {"min_cosine": 0.9}, workers={"device": "cpu"}).code == 0


def test_another_precision_is_another_dataset(embed: Embed, model: str) -> None:
    """The precision is in the fingerprint."""
    wanted = {"engine": "native", "source": model, "precision": "float32"}
    assert embed(engine=None, model=wanted, workers={"device": "cpu"}).code == 0
    refused = embed(engine=None, model=wanted | {"precision": "int8", "min_cosine": 0.5}, workers={"device": "cpu"})
    assert refused.code == 2 and "model.precision: float32 -> int8" in refused.stdout + refused.errors


def test_the_sample_is_from_all_over_the_corpus(model: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [f"text {row}" for row in range(5000)]}), tmp_path / "corpus/b.parquet")
    config = JobConfig.model_validate({"model": {"source": model}, "corpus": {"files": (str(tmp_path / "corpus/b.parquet"),)}, "output": {"uri": "out"}})
    files = survey_files(config.corpus, None)
    chosen = sample_texts(files, row_schema(config, files))
    places = sorted(int(text.split()[1]) for text in chosen)
    assert len(set(places)) == SAMPLED_TEXTS and chosen == sample_texts(files, row_schema(config, files))
    assert all(30 <= sum(start <= place < start + 500 for place in places) <= 75 for start in range(0, 5000, 500))
