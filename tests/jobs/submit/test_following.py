"""A job's log, however it is cut and however often the connection is lost: each line once, progress to the display, the answer kept."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.driver.display import Silent
from embermill.jobs.driver.progress_record import record
from embermill.jobs.driver.snapshot import Snapshot
from embermill.jobs.errors import Interrupted
from embermill.jobs.receipt import STAGES
from embermill.jobs.submit import following
from embermill.jobs.submit.endings import Submission
from embermill.jobs.submit.following import Reading, follow
from embermill.jobs.submit.start import PHASE, REPORT
from tests.jobs.command_line import command
from tests.jobs.submit.test_refusals import URLS, submission
from tests.serving import serving

MIDWAY = Snapshot(10, 100, 1.0, 10.0, 1, 2, 0.5, 100, 10.0, dict.fromkeys(STAGES, 0.25), "encoder", 2)
LOG = "\n".join([
    "2026 INFO job_manager.py:581 -- Runtime env is setting up.", "Running entrypoint for job a-1: exec python3 embermill-start.py",
    PHASE, REPORT + json.dumps({"embermill": "1"}), record("starting Ray", "starting Ray"), "a warning of the run's", record("10 documents", MIDWAY),
    "{this is no JSON", "embermill: last words", json.dumps({"error": {"message": "last words", "exit_code": 3}}),
])  # fmt: skip


class Seen(Silent):
    def __init__(self) -> None:
        self.phases: list[str] = []
        self.snapshots: list[Snapshot] = []
        self.lines: list[str] = []

    def phase(self, words: str) -> None:
        self.phases.append(words)

    def show(self, snapshot: Snapshot, now_s: float) -> None:
        self.snapshots.append(snapshot)


def require_all_seen(seen: Seen, reading: Reading) -> None:
    assert (seen.phases, seen.snapshots) == (["looking for embermill on every node", "starting Ray"], [MIDWAY])
    assert seen.lines == ["a warning of the run's", "{this is no JSON"]
    assert reading.started == {"embermill": "1"} and reading.answer == {"error": {"message": "last words", "exit_code": 3}}


@given(st.lists(st.integers(0, len(LOG))))
def test_a_log_may_be_cut_anywhere(cuts: list[int]) -> None:
    seen = Seen()
    reading = Reading(seen, seen.lines.append)
    edges = [0, *sorted(cuts), len(LOG)]
    for first, last in pairwise(edges):
        reading.take(LOG[first:last])
    reading.end()
    require_all_seen(seen, reading)


class Flaky:
    """A cluster whose connection breaks after each of these many characters, and that tells the log from its beginning each time."""

    def __init__(self, breaks: list[int], status: str = "FAILED") -> None:
        self._breaks, self._status = iter(breaks), status
        self.looked = 0

    def look(self, id: str) -> Submission:
        self.looked += 1
        if self.looked == 2:
            raise Interrupted("the cluster does not answer")
        return submission(status="PENDING" if self.looked == 1 else self._status if self._over else "RUNNING", exit_code=3)

    _over = False

    async def tail(self, id: str) -> AsyncIterator[str]:
        until = next(self._breaks, None)
        if until is None:
            self._over = True
        yield LOG[:until]
        if until is not None:
            raise Interrupted("the connection was lost")

    def log(self, id: str) -> str:
        return LOG


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_S", 0.0)


@pytest.mark.parametrize("breaks", [[], [0], [100, 50, 400], [len(LOG) - 1, len(LOG)]])
def test_a_lost_connection_is_made_again_and_no_line_is_told_twice(breaks: list[int]) -> None:
    seen = Seen()
    reading = Reading(seen, seen.lines.append)
    assert follow(Flaky(breaks), "a-1", reading).code == 3
    require_all_seen(seen, reading)


def test_a_cluster_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOST_S", 0.0)
    with pytest.raises(Interrupted, match="may be running there still"):
        follow(Flaky([5]), "a-1", Reading(Seen(), lambda line: None))


def test_whoever_does_not_follow_leaves_once_the_cluster_was_looked_at() -> None:
    seen = Seen()
    reading = Reading(seen, seen.lines.append)
    assert follow(Flaky([]), "a-1", reading, enough=lambda: reading.started is not None).is_running


class JobServer(BaseHTTPRequestHandler):
    """The job server of a cluster, as far as a submitter asks before it sends anything."""

    ray, python = "2.40.0", "3.12.1"
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        node = {"state": "ALIVE", "resources_total": {"CPU": 4.0}}
        answers = {
            "/api/version": {"version": "4", "ray_version": self.ray, "ray_commit": "x", "session_name": "s"},
            "/api/v0/cluster_metadata": {"data": {"rayVersion": self.ray, "pythonVersion": self.python}},
            "/api/v0/nodes": {"data": {"result": {"result": [node]}}},
        }
        body = json.dumps(answers[self.path.partition("?")[0]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_PUT = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def job_server() -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), JobServer)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(("ray", "python", "said"), [("2.40.0", "3.12.1", "Ray 2.40.0"), ("2.60.0", "3.10.9", "Python 3.10.9")])
def test_a_cluster_of_a_wrong_version_is_sent_nothing(
    job_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray: str, python: str, said: str
) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(JobServer, "ray", ray)
    monkeypatch.setattr(JobServer, "python", python)
    monkeypatch.setattr(JobServer, "asked", [])
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(URLS))
    answer = command("submit", str(tmp_path / "job.yaml"), "--address", job_server)
    assert answer.code == 2 and said in answer["error"]["message"]
    assert not [path for path in JobServer.asked if "/api/jobs" in path or "/api/packages" in path]
