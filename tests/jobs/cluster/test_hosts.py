"""A Ray cluster over several hosts, submitted to from outside: everything that may befall a cluster befalls one job, and its dataset is that of a quiet run.

By hand, an event at a time, on two and on four hosts: python -m tests.jobs.cluster.rounds (infra/decisions/0015 has the figures).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.jobs.cluster.hosts import RAY_FOLDER, RayHosts, missing, network
from tests.jobs.cluster.rounds import EVENTS, Job, Rounds

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rounds]:
    """Two hosts, each of which declares a GPU."""
    lacking = missing() or (None if find_spec("aiohttp_cors") else "ray[default] is not installed (infra/lock-test.txt has it)")
    if lacking:
        pytest.fail(lacking) if os.environ.get("CI") == "true" else pytest.skip(lacking)
    folder = tmp_path_factory.mktemp("hosts")
    with network() as made:
        begun = Rounds(RayHosts(made, folder / "logs"), folder, ["host-1", "host-2"], gpus=True)
        begun.start()
        yield begun


def test_only_hosts_with_what_a_worker_needs_work_and_each_proves_that_it_sees_the_storage(rounds: Rounds) -> None:
    hosts = rounds.hosts
    job = Job(hosts, rounds.folder / "elsewhere", 60, gpus=True, labels={"zone": "eu"}, max=3)
    hosts.start("eu", gpus=1, more="--labels=zone=eu")
    hosts.start("cpu", more="--labels=zone=eu")  # no GPU
    output = rounds.folder / "elsewhere/elsewhere"
    output.mkdir()
    hosts.start("own-disk", gpus=1, before=f"mount -t tmpfs tmpfs {output}", more="--labels=zone=eu")
    rounds.await_nodes({*rounds.names, "eu", "cpu", "own-disk"})
    client = job.submit()
    rounds.await_true(lambda: job.by_host()["eu"] > 40, "work on the host with the label")
    actors = json.loads(hosts.get("/api/v0/actors?detail=1"))["data"]["result"]["result"]
    named = {actor["name"] for actor in actors if actor["state"] == "ALIVE" and actor["class_name"].endswith("EmbeddingWorker")}
    job.slow(False)
    out, err = client.communicate(timeout=120)
    for name in ("eu", "cpu", "own-disk"):
        hosts.network.host(name).kill()
    assert client.returncode == 0, err + out
    assert named and all(name.startswith("elsewhere ") and name.split()[-1].isdecimal() for name in named)
    assert {*job.by_host()} == {"eu"}, "neither without a GPU, nor without the label, nor with another disk"
    assert "the worker on own-disk does not see what the driver wrote there" in err
    assert job.faults() == []
    rounds.await_nodes({*rounds.names})


def test_whatever_befalls_the_cluster_the_dataset_is_that_of_a_quiet_run(rounds: Rounds) -> None:
    found = rounds.round([*EVENTS], partitions=1500)
    print(json.dumps(found))
    assert found["faults"] == [] and found["workers_lost"] > 3, found


def test_nothing_is_left(rounds: Rounds) -> None:
    """Ray's files of a host are on its own disk, which ends with it."""
    assert not Path(RAY_FOLDER).exists() or not [*Path(RAY_FOLDER).iterdir()]
