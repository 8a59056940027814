"""How many workers, on what: `auto` resolved from what the nodes have."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from embermill.jobs.config import WorkersConfig
from embermill.jobs.errors import UsageError
from embermill.jobs.pool.placement import NOTHING, Node, Placement, Share, light_workers, place, share_of, wants_of

LAPTOP, SERVER, CARDS = Node(8, 0), Node(64, 8), Node(32, 4)
FAST = Node(16, 2, resources={"disk": 1.0}, labels={"zone": "eu"})


@pytest.mark.parametrize(
    ("workers", "nodes", "joined", "expected"),
    [
        ({}, [LAPTOP], False, Placement("cpu", 8, 1)),
        ({"cpus": 3}, [LAPTOP], False, Placement("cpu", 2, 3)),
        ({"count": 12}, [LAPTOP], False, Placement("cpu", 12, 1, 12)),
        ({"cpus": 16}, [LAPTOP], False, Placement("cpu", 1, 16)),
        ({}, [SERVER], False, Placement("gpu", 8, 8)),
        ({}, [LAPTOP, SERVER, Node(12, 4)], True, Placement("gpu", 12, 3)),
        ({"count": 2, "cpus": 5}, [CARDS], True, Placement("gpu", 2, 5, 2)),
        ({"device": "cpu"}, [SERVER], True, Placement("cpu", 64, 1)),
        ({"max": 9}, [LAPTOP, SERVER, Node(12, 4)], True, Placement("gpu", 9, 3, 9)),
        ({"max": 99}, [SERVER], True, Placement("gpu", 8, 8, 99)),
        ({"labels": (("zone", "eu"),)}, [SERVER, FAST], True, Placement("gpu", 2, 8)),
        ({"resources": {"disk": 0.5}}, [SERVER, FAST], True, Placement("gpu", 2, 8)),
        ({"resources": {"disk": 1}}, [SERVER, FAST], True, Placement("gpu", 1, 8)),
        ({"device": "cpu", "cpus": 4, "resources": {"disk": 1}}, [SERVER, FAST], True, Placement("cpu", 1, 4)),
        ({}, [Node(64, 8, available={"CPU": 60, "GPU": 3})], True, Placement("gpu", 3, 8)),
        ({}, [Node(64, 8, available={"CPU": 64})], True, Placement("gpu", 1, 8)),
        ({"autoscaling": True, "max": 6}, [Node(0, 0)], True, Placement("gpu", 1, 1, 6)),
        ({"autoscaling": True, "max": 6}, [LAPTOP, CARDS], True, Placement("gpu", 4, 8, 6)),
        ({"autoscaling": True, "count": 3, "device": "cpu"}, [Node(0, 0)], True, Placement("cpu", 3, 1, 3)),
        ({"autoscaling": True, "max": 6, "labels": (("zone", "us"),)}, [SERVER], True, Placement("gpu", 1, 1, 6)),
        ({"autoscaling": True, "max": 6}, [LAPTOP], False, Placement("cpu", 6, 1, 6)),
    ],
)
def test_auto(workers: dict[str, Any], nodes: list[Node], joined: bool, expected: Placement) -> None:
    assert place(WorkersConfig(**workers), nodes, joined=joined) == expected


@pytest.mark.parametrize(
    ("workers", "node", "device", "expected"),
    [
        ({}, SERVER, "gpu", Share(8, 8, 8, 8)),
        ({}, Node(96, 4), "gpu", Share(4, 4, 24, 24)),
        ({}, Node(2, 4), "gpu", Share(4, 4, 0.5, 1)),
        ({"cpus": 20}, Node(96, 8), "gpu", Share(4, 4, 20, 20)),
        ({"device": "gpu"}, LAPTOP, "gpu", NOTHING),
        ({}, SERVER, "cpu", Share(64, 64, 1, 1)),
        ({"labels": (("zone", "us"),)}, FAST, "gpu", NOTHING),
        ({}, Node(64, 8, available={"CPU": 8, "GPU": 5}), "gpu", Share(8, 1, 8, 8)),
    ],
)
def test_each_node_gives_its_own_share_and_a_cpu_node_nothing_to_a_gpu_job(workers: dict[str, Any], node: Node, device: str, expected: Share) -> None:
    assert share_of(WorkersConfig(**workers), node, device) == expected


@pytest.mark.parametrize(
    ("workers", "device", "wants"),
    [
        ({}, "gpu", {"GPU": 1}),
        ({"cpus": 6, "resources": {"disk": 0.5}}, "gpu", {"CPU": 6, "GPU": 1, "disk": 0.5}),
        ({}, "cpu", {"CPU": 1}),
        ({"cpus": 4}, "cpu", {"CPU": 4}),
    ],
)
def test_what_a_worker_wants_of_a_node_that_is_to_come(workers: dict[str, Any], device: str, wants: dict[str, float]) -> None:
    assert wants_of(WorkersConfig(**workers), device) == wants


@pytest.mark.parametrize(
    ("workers", "device", "light"),
    [
        ({"count": 4}, "cpu", {"count": 4, "device": "cpu"}),
        ({"count": 4}, "gpu", {"device": "cpu"}),
        ({"max": 6}, "gpu", {"max": 6, "device": "cpu"}),
        ({"count": 4, "autoscaling": True}, "gpu", {"max": 4, "autoscaling": True, "device": "cpu"}),
        ({"max": 6, "autoscaling": True}, "gpu", {"max": 6, "autoscaling": True, "device": "cpu"}),
    ],
)
def test_tasks_without_an_engine_ask_an_autoscaler_for_no_more_than_the_job(workers: dict[str, Any], device: str, light: dict[str, Any]) -> None:
    assert light_workers(WorkersConfig(**workers), device) == WorkersConfig(**light)


@example(0, 1, "auto", "gpu")
@given(st.integers(0, 256), st.integers(0, 16), st.one_of(st.just("auto"), st.integers(1, 64)), st.sampled_from(["cpu", "gpu"]))
def test_what_workers_reserve_is_there(cpus: int, gpus: int, each: Any, device: str) -> None:
    share = share_of(WorkersConfig(cpus=each), Node(cpus, gpus), device)
    assert share.workers * share.cpus <= cpus and (device == "cpu" or share.workers <= gpus)
    assert device == "cpu" or each != "auto" or share.workers == (gpus if cpus else 0)


@pytest.mark.parametrize(
    ("workers", "nodes", "joined", "words"),
    [
        ({}, [LAPTOP], True, "never turned into a CPU job"),
        ({}, [LAPTOP], True, r"set workers\.autoscaling: true and workers\.max"),
        ({"device": "cpu"}, [Node(0, 0)], True, r"set workers\.autoscaling: true and workers\.max"),
        ({"device": "gpu"}, [LAPTOP], False, "Ray finds no GPU"),
        ({"count": 9}, [SERVER], False, "each on a GPU of its own; there is room for 8"),
        ({"device": "cpu", "count": 9}, [LAPTOP], True, "has room for 8"),
        ({"labels": (("zone", "us"),)}, [LAPTOP, FAST], True, r"none of 2 nodes.*workers\.labels: zone: us"),
        ({"resources": {"disk": 2}}, [LAPTOP, FAST], True, r"none of 2 nodes.*workers\.resources: disk: 2"),
        ({"device": "cpu", "cpus": 9}, [LAPTOP], True, "no node of this cluster has room for a worker: 9 CPUs"),
    ],
)
def test_what_cannot_be_is_said(workers: dict[str, Any], nodes: list[Node], joined: bool, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        place(WorkersConfig(**workers), nodes, joined=joined)


def test_without_a_gpu_library_a_machine_of_ones_own_computes_on_its_cpu_and_a_cluster_does_not() -> None:
    assert place(WorkersConfig(), [SERVER], joined=False, gpu_library=False).device == "cpu"
    assert place(WorkersConfig(), [SERVER], joined=True, gpu_library=False).device == "gpu"


def test_a_dataset_stays_on_the_kind_of_device_on_which_it_was_begun() -> None:
    with pytest.raises(UsageError, match=r"workers\.device: gpu -> cpu"):
        place(WorkersConfig(), [LAPTOP], joined=False, planned_device="gpu")
    assert place(WorkersConfig(device="cpu"), [SERVER], joined=False, planned_device="cpu").gpus == 0
