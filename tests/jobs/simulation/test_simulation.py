"""A sample of the simulator's seeds, the seeds that once failed, and the guards without which it must fail. All seeds: python -m tests.jobs.simulation."""

from __future__ import annotations

import os
import re

import pytest

from tests.jobs.simulation.guards import GUARDS
from tests.jobs.simulation.moving import MOVING_FROM
from tests.jobs.simulation.shrinking import fails, failure_of
from tests.jobs.simulation.simulator import make, simulate

SAMPLE = int(os.environ.get("EMBERMILL_SIMULATION_SEEDS", "60"))
FOUND = {  # without leaps, as they were found
    9: "a partition whose receipt was lost waited for a worker that nobody started",
    59: "a partition that failed on both workers fitted neither",
    76: "what two broken workers agree on is taken for bad data: as it is meant",
    207: "a run died between taking over and ending the log of a silent one, and the next one found its lease released",
    318: "a run that was stopped before it read the log committed after it was taken over",
    358: "a broken worker got everything while its one colleague was being replaced",
    5308: "the last partition was judged by the one worker that was started for it",
    929: "a run that began in trouble was judged as if it had not",
    10006: "a partition that failed on a worker waited for one of a node that was barred",
    11545: "the one that took a good worker's place, after a broken one was retired, was put on the broken GPU and made bad data of what is good",
    13894: "the same, with three workers",
    16239: "a broken worker whose colleagues are all silent gets more: as it is meant",
    17726: "a renewal that did not reach the store was taken for one",
    21606: "deaths on a node that was barred since ended every run with 33, for ever",
}

FOUND_LEAPING = {
    121662: "a worker that only fails got what was queued on one that died",
    256553: "a worker that only fails repeated what others were about to finish, since its failures were taken for the pace of the job",
    145403: "a partition that was queued on a worker that died, and then failed on one alone, was given up",
    613501: "the same, where workers of a node die when they start",
    MOVING_FROM + 7327: "a run ended since only a broken GPU was left, though the nodes of the others might have come back",
    MOVING_FROM + 7371: "the same, where the node went before the next look at the cluster",
    MOVING_FROM + 7327: "a run ended since only a broken GPU was left, though the nodes of the others might have come back",
    MOVING_FROM + 7371: "the same, where the node went before the next look at the cluster",
}


@pytest.mark.parametrize("block", range(6))
def test_complete_exclusive_and_never_stuck_whatever_happens(block: int) -> None:
    for seed in [*range(block * SAMPLE // 6, (block + 1) * SAMPLE // 6), *range(MOVING_FROM + block * SAMPLE // 6, MOVING_FROM + (block + 1) * SAMPLE // 6)]:
        assert (found := failure_of(seed)) is None, found


@pytest.mark.parametrize("seed", [*FOUND, *FOUND_LEAPING])
def test_what_once_failed_does_so_no_more(seed: int) -> None:
    assert (found := failure_of(seed, leaps=seed not in FOUND)) is None, found


def test_a_seed_tells_the_same_story_twice() -> None:
    stories = []
    for _ in range(2):
        simulation = make(35)
        simulate(simulation)
        stories.append((list(simulation.trace), simulation.store.created))
    assert stories[0] == stories[1] and len(stories[0][0]) > 5


@pytest.mark.parametrize("seed", [*range(0, 60, 3), *FOUND, *FOUND_LEAPING])
def test_with_arrow_s_tables_it_is_the_same_story(seed: int) -> None:
    """A simulation has lists in their place (rows.py)."""
    stories = []
    for arrow in (False, True):
        simulation = make(seed, leaps=seed not in FOUND)
        simulate(simulation, arrow=arrow)
        stories.append((simulation.trace, simulation.store.created))
    assert stories[0] == stories[1]


def test_of_a_failure_only_those_faults_are_shown_that_it_takes() -> None:
    with GUARDS["a holder that was taken over finds the next commit taken"][0]():
        found = failure_of(48) or ""
    enough, happened = map(int, re.findall(r"(\d+) of (\d+) faults are enough", found)[0])
    assert 1 <= enough < happened and found.count("fault ") == enough, found


@pytest.mark.parametrize("guard", GUARDS)
def test_without_any_one_of_its_guards_the_driver_fails(guard: str) -> None:
    with GUARDS[guard][0]():
        assert any(fails(seed) for seed in GUARDS[guard][1]), f"nothing notices that {guard!r} is gone"
