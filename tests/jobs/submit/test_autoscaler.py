"""`submit` to a cluster that scales from zero: Ray's own autoscaler, whose nodes are further raylets on this machine and declare GPUs that they do not have."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.storage import open_folder
from tests.jobs.submit.heads import Head, start_head
from tests.jobs.submit.test_on_a_cluster import ROWS, begin, call, ended, project, write

__all__ = ["project"]
MOST_NODES, ASKED = 2, 4
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Nothing but a head without CPUs and GPUs."""
    if find_spec("aiohttp_cors") is None:
        missing = "ray[default] is not installed (infra/lock-test.txt has it)"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    with start_head(Path(sys.executable), cpus=0, autoscaled={"CPU": 1, "GPU": 1}, most=MOST_NODES) as started:
        yield started


def nodes(head: Head) -> int:
    """That workers could be on."""
    listed = head.ask("/api/v0/nodes?detail=1")["data"]["result"]["result"]
    return sum(node["state"] == "ALIVE" and "GPU" in (node["resources_total"] or {}) for node in listed)


def demand(head: Head) -> int:
    """Placement groups that wait, as the autoscaler has heard."""
    waiting = head.ask("/api/cluster_status")["data"]["clusterStatus"]["loadMetricsReport"]["pgDemand"]
    return sum(count for _, count in waiting)


def await_true(what: str, holds: Callable[[], bool], timeout_s: float = 120) -> None:
    until_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until_s, f"{what} did not come within {timeout_s:.0f} s"
        time.sleep(0.5)


def driver(head: Head) -> psutil.Process:
    """Of the job that runs."""
    found = list[psutil.Process]()
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if (process.info["cwd"] or "").startswith(head.folder) and {"embermill", "run"} <= {*(process.info["cmdline"] or ())}:
            found.append(process)
    (only,) = found
    return only


def test_a_job_on_a_cluster_without_nodes_has_them_added_and_leaves_none_behind(head: Head, project: Path) -> None:
    gpus: dict[str, Any] = {"count": "auto", "device": "auto"}
    await_true("the autoscaler", lambda: head.ask("/api/cluster_status")["data"]["clusterStatus"] is not None)
    code, answer, _ = call(head, "submit", write(project, "scaled", workers=gpus), "--working-dir", project / "code")
    assert code == 2 and "set workers.autoscaling: true and workers.max" in answer["error"]["message"]

    (project / "slow").touch()
    job = write(project, "scaled", workers=gpus | {"autoscaling": True, "max": ASKED})
    first = begin(head, "submit", job, "--working-dir", project / "code")
    await_true("a node for every worker that the autoscaler can place", lambda: nodes(head) == MOST_NODES)
    await_true("demand for the others", lambda: demand(head) == ASKED - MOST_NODES)
    await_true("a commit", lambda: bool(list(project.glob("scaled/_embermill/commits/*"))))
    driver(head).send_signal(signal.SIGKILL)
    killed, _, _ = ended(first)
    assert killed == 33
    await_true("the end of its demand", lambda: demand(head) == 0, timeout_s=60)

    await_true("idle nodes to be taken away", lambda: nodes(head) == 0)
    (project / "slow").unlink()
    code, answer, err = call(head, "submit", job, "--working-dir", project / "code")
    assert code == 0, err
    assert answer["summary"]["rows_out"] == ROWS and answer["summary"]["device"] == "gpu"
    assert verify(open_folder(str(project / "scaled"))).to_json()["ok"]
    await_true("the end of its demand", lambda: demand(head) == 0, timeout_s=60)
    await_true("idle nodes to be taken away", lambda: nodes(head) == 0)
