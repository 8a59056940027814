"""Ray's account of a worker's death is not shown, whatever else it reports is. The real thing: tests/jobs/crashes/ray_rounds.py, which kills workers."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import ray._private.worker

from embermill.jobs.pool import ray_words

DIED = f"{ray_words.DEATH} by an unexpected system error. Worker PID: 7"
OTHER = "The node with node id: 1 has been marked dead because the detector has missed too many heartbeats from it."


def reported(*lines: str) -> dict[str, Any]:
    """As listen_error_messages passes on what a raylet reports."""
    return {"lines": list(lines), "pid": "raylet", "is_err": False}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(ray._private.worker, ray_words.PRINT, lambda data, ignore_prefix: lines.extend(data["lines"]))
    return lines


def test_deaths_are_left_out_and_all_else_is_shown(shown: list[str]) -> None:
    with ray_words.without_deaths(ray._private.worker):
        for lines in ([DIED], [OTHER], [OTHER, DIED]):
            ray._private.worker.print_to_stdstream(reported(*lines), ignore_prefix=False)
    assert shown == [OTHER, OTHER]
    ray._private.worker.print_to_stdstream(reported(DIED), ignore_prefix=False)
    assert shown[2:] == [DIED]


def test_with_verbose_all_of_it_is_shown(shown: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger=ray_words.log.name), ray_words.without_deaths(ray._private.worker):
        ray._private.worker.print_to_stdstream(reported(DIED), ignore_prefix=False)
    assert shown == [DIED]


def test_ray_has_what_is_replaced() -> None:
    assert callable(getattr(ray._private.worker, ray_words.PRINT))
    assert ray_words.PRINT in ray._private.worker.listen_error_messages.__code__.co_names
