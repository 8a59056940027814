"""A machine so busy that Ray's processes do not come up in time: worth another run, and no defect of ours."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import ray

from embermill.jobs.config import JobConfig
from embermill.jobs.errors import Interrupted
from embermill.jobs.pool.placement import Placement
from embermill.jobs.pool.ray_pool import RayPool, _Actor
from embermill.jobs.pool.ray_session import RaySession


@pytest.mark.parametrize(("message", "raised"), [("The current node timed out during startup. It may be overloaded.", Interrupted), ("another", ValueError)])
def test_rays_plain_exception(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, message: str, raised: type[Exception]) -> None:
    def fail(**_: Any) -> None:
        raise ValueError(message) if raised is ValueError else Exception(message)

    monkeypatch.setattr(ray, "init", fail)
    config = JobConfig.model_validate({"model": {"engine": "python:a:B"}, "corpus": {"files": ["a"]}, "output": {"uri": str(tmp_path / "out")}})
    with pytest.raises(raised, match="did not come up in time" if raised is Interrupted else message), RaySession(config, None) as session:
        session.wait()


def test_where_no_node_is_left_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A raylet that died took its workers along: their replacements were waited for until start_timeout_s, five minutes each."""
    pool = RayPool(None, Placement("cpu", 1, 1), dict, start_timeout_s=300)  # type: ignore[arg-type]
    pool._actors[0] = _Actor(handle=None, events=None, started_s=time.monotonic() - 6, node="", begun_s=time.monotonic() - 6)
    monkeypatch.setattr(RayPool, "_with_events", lambda self, timeout_s: [])
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True}])
    assert pool.events(0) == []
    pool._looked_s = 0.0
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": False}])
    with pytest.raises(Interrupted, match=r"no node of Ray is left.*run the same command again"):
        pool.events(0)


def test_a_worker_that_was_started_ahead_has_its_time_from_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at corpus and model may take longer than a worker's start may: what it was told meanwhile is heard after that."""
    pool = RayPool(None, Placement("cpu", 1, 1), dict, start_timeout_s=300)  # type: ignore[arg-type]
    long_ago_s = time.monotonic() - 1000
    pool._actors[0], pool._started = _Actor(handle=None, events=None, started_s=long_ago_s, node="", begun_s=long_ago_s), 1
    pool._ahead.append(0)
    monkeypatch.setattr(RayPool, "_with_events", lambda self, timeout_s: [])
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True}])
    assert pool.start_worker() == 0 and pool.events(0) == [] and 0 in pool._actors


def test_nothing_is_started_ahead_on_a_pool_that_is_closed() -> None:
    pool = RayPool(None, Placement("cpu", 1, 1), dict, start_timeout_s=300)  # type: ignore[arg-type]
    pool.close()
    pool.start_ahead()
    assert pool._started == 0
