from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.liveness import this_process
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.dataset.views.status import HEARTBEAT, status
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.files import write_plan
from embermill.jobs.storage import open_folder
from tests.jobs.sample_dataset import make_plan, write_dataset

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def beat(root: Path, state: str = "running", ago_s: float = 3) -> None:
    about = {"state": state, "time": (NOW - timedelta(seconds=ago_s)).isoformat(), "rows": 7}
    (root / HEARTBEAT).write_text(json.dumps(about))


def test_from_the_plan_to_the_manifest(tmp_path: Path) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan(3)
    with pytest.raises(UsageError, match="there is no dataset here"):
        status(folder)
    write_plan(folder, plan)
    found = status(folder, NOW)
    assert (found.state, found.partitions, found.partitions_done, found.totals.rows_in) == ("planned", 3, 0, 0)
    assert (found.text_bytes, found.text_bytes_left) == (3000, 3000)
    receipts, log = write_dataset(tmp_path, plan), CommitLog(folder)
    log.append(receipts[:4])
    found = status(folder, NOW)
    assert (found.state, found.partitions_done, found.totals.shards, found.totals.rows_in, found.text_bytes_left) == ("unfinished", 1, 4, 350, 2000)
    log.append(receipts)
    publish_manifest(folder, plan, log)
    found = status(folder, NOW)
    assert (found.state, found.partitions_done, found.totals.rows_quarantined, found.manifest) == ("finished", 3, 6, "_embermill/manifests/000001.json")
    answer = found.to_json()
    assert answer["finished"] and answer["rows_out"] == 744 and answer["token_lengths"]["p50"] == 28 and json.dumps(answer)


@pytest.mark.parametrize(
    ("state", "ago_s", "expected"), [("running", 3, "running"), ("running", 300, "unfinished"), ("ended", 3, "unfinished"), ("running", -3, "running")]
)
def test_a_heartbeat_tells_who_is_at_it(tmp_path: Path, state: str, ago_s: float, expected: str) -> None:
    folder, plan = open_folder(str(tmp_path)), make_plan(3)
    write_plan(folder, plan)
    CommitLog(folder).append(write_dataset(tmp_path, plan)[:1])
    beat(tmp_path, state, ago_s)
    found = status(folder, NOW)
    assert (found.state, found.heartbeat_age_s) == (expected, max(0, ago_s)) and found.heartbeat is not None and found.heartbeat["rows"] == 7


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"time": 5}', b'{"time": "2026-01-01T12:00:00"}', b"\xff"])
def test_a_heartbeat_has_no_authority(tmp_path: Path, content: bytes) -> None:
    folder = open_folder(str(tmp_path))
    write_plan(folder, make_plan(1))
    (tmp_path / HEARTBEAT).write_bytes(content)
    assert status(folder, NOW).state == "planned"


def test_a_run_that_was_killed_here_is_at_it_no_more(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    write_plan(folder, make_plan(1))
    about = this_process() | {"state": "running", "time": NOW.isoformat()}
    (tmp_path / HEARTBEAT).write_text(json.dumps(about))
    assert status(folder, NOW).state == "running"
    if about["scope"]:
        (tmp_path / HEARTBEAT).write_text(json.dumps(about | {"started": "1"}))
        assert status(folder, NOW).state == "planned"
