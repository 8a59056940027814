"""A corpus with nothing to embed: its dataset is what a worker would have made, and no worker is started for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.plan.files import Plan, read_plan
from embermill.jobs.pool.base import Pool
from embermill.jobs.pool.opening import OpenPool
from embermill.jobs.pool.placement import Placement
from embermill.jobs.storage import Folder, open_folder
from tests.encoder.tiny_bert import TinyBert
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]


class NoWorkers:
    """A pool that is begun beside the look, and of which nothing is wanted."""

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        pytest.fail(f"no worker is needed to embed nothing: {name}")


@contextmanager
def no_workers(config: JobConfig, folder: Folder, plan: Plan | None) -> Iterator[OpenPool]:
    pool: Pool = NoWorkers()  # type: ignore[assignment]
    yield OpenPool(pool, Placement("cpu", 1, 1))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    TinyBert().write(tmp_path / "model")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_text("")
    return tmp_path


def sections(here: Path, **model: Any) -> dict[str, Any]:
    return {"engine": None, "model": {"source": str(here / "model")} | model, "corpus": {"files": [str(here / "corpus")]}}


@pytest.mark.parametrize("model", [{}, {"precision": "float32"}, {"cpu_float32": "numpy"}, {"dimensions": 8, "allow_truncation": True, "max_tokens": 16}])
def test_the_plan_is_what_a_worker_would_have_led_to(here: Path, embed: Embed, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any]) -> None:
    with monkeypatch.context() as asked:
        asked.setattr("embermill.jobs.run.ready_without_worker", lambda *_: None)
        assert embed(output="asked", **sections(here, **model)).code == 0
    monkeypatch.setattr("embermill.jobs.run.open_pool", no_workers)
    answer = embed(**sections(here, **model))
    assert (answer.code, answer["rows_in"]) == (0, 0), answer.errors
    ours, theirs = open_folder(str(here / "out")), open_folder(str(here / "asked"))
    assert differences(ours, theirs) == []
    plan, other = read_plan(ours), read_plan(theirs)
    assert plan is not None and other is not None
    for name in ("fingerprint", "outputs", "schema", "device_kind", "precision", "vectors"):
        assert getattr(plan, name) == getattr(other, name), name


def test_an_engine_that_says_nothing_of_itself_is_asked(here: Path, embed: Embed) -> None:
    assert embed(corpus={"files": [str(here / "corpus")]}).code == 0
