"""A machine so busy that Ray's processes do not come up in time: worth another run, and no defect of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray

from embermill.jobs.config import JobConfig
from embermill.jobs.errors import Interrupted
from embermill.jobs.pool.ray_session import RaySession


@pytest.mark.parametrize(("message", "raised"), [("The current node timed out during startup. It may be overloaded.", Interrupted), ("another", ValueError)])
def test_rays_plain_exception(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, message: str, raised: type[Exception]) -> None:
    def fail(**_: Any) -> None:
        raise ValueError(message) if raised is ValueError else Exception(message)

    monkeypatch.setattr(ray, "init", fail)
    config = JobConfig.model_validate({"model": {"engine": "python:a:B"}, "corpus": {"files": ["a"]}, "output": {"uri": str(tmp_path / "out")}})
    with pytest.raises(raised, match="did not come up in time" if raised is Interrupted else message), RaySession(config, None):
        pass
