"""How many workers, on what: `auto` resolved from what the nodes have."""

from __future__ import annotations

from typing import Any

import pytest

from embermill.jobs.config import WorkersConfig
from embermill.jobs.errors import UsageError
from embermill.jobs.pool.placement import Node, Placement, place

LAPTOP, SERVER, CARDS = Node(8, 0), Node(64, 8), Node(32, 4)


@pytest.mark.parametrize(
    ("workers", "nodes", "joined", "expected"),
    [
        ({}, [LAPTOP], False, Placement("cpu", 8, 1)),
        ({"cpus": 3}, [LAPTOP], False, Placement("cpu", 2, 3)),
        ({"count": 12}, [LAPTOP], False, Placement("cpu", 12, 1)),
        ({"cpus": 16}, [LAPTOP], False, Placement("cpu", 1, 16)),
        ({}, [SERVER], False, Placement("gpu", 8, 8)),
        ({}, [LAPTOP, SERVER, Node(12, 4)], True, Placement("gpu", 12, 3)),
        ({"count": 2, "cpus": 5}, [CARDS], True, Placement("gpu", 2, 5)),
        ({"device": "cpu"}, [SERVER], True, Placement("cpu", 64, 1)),
    ],
)
def test_auto(workers: dict[str, Any], nodes: list[Node], joined: bool, expected: Placement) -> None:
    assert place(WorkersConfig(**workers), nodes, joined=joined) == expected


@pytest.mark.parametrize(
    ("workers", "nodes", "joined", "words"),
    [
        ({}, [LAPTOP], True, "never turned into a CPU job"),
        ({"device": "gpu"}, [LAPTOP], False, "Ray finds no GPU"),
        ({"count": 9}, [SERVER], False, "each on a GPU of its own; there are 8"),
        ({"device": "cpu", "count": 9}, [LAPTOP], True, "has room for 8"),
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
