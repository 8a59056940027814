"""Ray is begun before anything else only where a job begins a dataset, as far as a glance tells; a pool takes that one, if it is for such workers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.pool import ray_ahead as room
from embermill.jobs.pool.ray_ahead import begins_dataset, ray_ahead, session_for
from embermill.jobs.pool.ray_session import RaySession
from tests.jobs.plan.plans import job, lines


@pytest.fixture
def config(tmp_path: Path) -> JobConfig:
    lines(tmp_path / "corpus/a.jsonl", {"text": "one"})
    return job(tmp_path)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What becomes of sessions that start nothing; in a process that has imported nothing yet."""
    told: list[str] = []
    monkeypatch.delitem(sys.modules, room.IMPORTED_NEXT, raising=False)
    for name in ("__enter__", "begin"):  # what is to be done then is kept for a start that never comes
        monkeypatch.setattr(RaySession, name, lambda session, name=name: told.append(name) or session)
    real: Any = RaySession.__exit__
    monkeypatch.setattr(RaySession, "__exit__", lambda session, *error: told.append("__exit__") or real(session, *error))
    yield told


def test_a_new_dataset_of_a_corpus_on_a_disk(config: JobConfig, tmp_path: Path) -> None:
    assert begins_dataset(config)
    (tmp_path / "out/_embermill").mkdir(parents=True)
    (tmp_path / "out/_embermill/lease").write_text("{}")
    assert begins_dataset(config), "a run was refused there once, or has ended before it had a plan"
    (tmp_path / "out/_embermill/plan").mkdir()
    (tmp_path / "out/_embermill/plan/root.json").write_text("{}")
    assert not begins_dataset(config)


def test_no_ray_for_what_is_refused_at_a_glance(config: JobConfig, tmp_path: Path) -> None:
    assert not begins_dataset(job(tmp_path, ray={"address": "auto"})), "that is somebody's own"
    assert not begins_dataset(job(tmp_path, corpus={"files": ["nowhere"]}))
    assert not begins_dataset(job(tmp_path, output={"uri": "nothing://out"}))
    (tmp_path / "corpus/a.jsonl").write_text("")
    assert not begins_dataset(config), "the corpus is empty"
    assert begins_dataset(job(tmp_path, corpus={"files": ["s3://bucket/corpus"]})), "what a store holds is asked by the look"


def test_a_pool_takes_what_was_begun_once(config: JobConfig, said: list[str]) -> None:
    with ray_ahead(config):
        assert said == ["__enter__", "begin"]
        taken = session_for(config, None)
        assert taken._config is config and session_for(config, None) is not taken
    assert said == ["__enter__", "begin", "__exit__"]


def test_a_pool_for_other_workers_takes_another(config: JobConfig, tmp_path: Path, said: list[str]) -> None:
    for other in ((job(tmp_path, workers={"count": 7}), None), (config, "gpu")):
        with ray_ahead(config):
            taken = session_for(*other)
            assert taken._config is other[0] and taken._planned_device == other[1]


def test_what_nobody_takes_is_gone_and_taken_by_nobody_after_that(config: JobConfig, said: list[str]) -> None:
    with pytest.raises(ValueError), ray_ahead(config):
        raise ValueError
    assert said == ["__enter__", "begin", "__exit__"] and room._Begun.session is None


def test_where_all_is_imported_there_is_nothing_to_begin_it_beside(config: JobConfig, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, room.IMPORTED_NEXT, sys)
    with ray_ahead(config):
        assert said == []
