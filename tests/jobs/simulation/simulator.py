"""From a seed to a world, and from an empty dataset in it to a finished one; what must be true of the dataset then."""

from __future__ import annotations

import random

from embermill.jobs.dataset.metadata.commits import COMMITS
from tests.jobs.simulation.moving import MOVING_FROM, make_moves
from tests.jobs.simulation.runs import LEASE_S, Run, Simulation
from tests.jobs.simulation.store import Faults, Store
from tests.jobs.simulation.surroundings import decode_commit, surroundings
from tests.jobs.simulation.workers import World


def make(seed: int, left_out: frozenset[int] = frozenset(), *, leaps: bool = True) -> Simulation:
    """The world of that seed. left_out: faults that do not happen in it. leaps: as Simulation has it."""
    rng = random.Random(seed)
    faults = Faults(rng, left_out)
    number = rng.choice((0, 1, 1, 2, 2, 3, 3, 4, 5, 8, 12))
    shards = {n: [(rows := rng.randint(0, 9), rng.randint(0, rows)) for _ in range(rng.choice((1, 1, 1, 2, 3)))] for n in range(number)}
    bad = [n for n in shards if rng.random() < 0.08]
    killers = set(bad[:1]) if rng.random() < 0.5 else set()
    trouble = rng.choice((0.0, 0.0, 0.02, 0.1))
    nodes = rng.randint(1, 3)
    kinds = rng.choices(("healthy", "healthy", "healthy", "broken", "silent", "slow"), k=rng.randint(1, 5))
    places = [(f"node-{rng.randrange(nodes)}", kind) for kind in kinds]
    if rng.random() < 0.15:
        places += [("node-dead", "dead")] * rng.randint(1, 2)
    if not any(kind == "healthy" for _, kind in places):
        places.append(("node-0", "healthy"))
    rng.shuffle(places)
    world = World(rng, faults, shards, set(bad) - killers, killers, places, trouble)
    store = Store(rng, faults, rng.choice((0.0, 0.0, 0.03, 0.1)))
    moves = make_moves(seed, {node for node, _ in places}) if seed >= MOVING_FROM else None
    return Simulation(seed, store, world, min(len(places), rng.randint(1, 5)), rng.choice((1, 2, 4)), moves, leaps)


def simulate(simulation: Simulation, *, arrow: bool = False) -> None:
    """Runs one after another, and beside one another, until the dataset is finished; all bad luck ends at some time. arrow: with Arrow's tables."""
    sim, rng, world, faults = simulation, simulation.world.rng, simulation.world, simulation.faults
    runs: dict[str, Run] = {}
    current: list[Run] = []
    with surroundings(runs, current, arrow=arrow):
        calm, alive = sim.calm, list[Run]()
        for turn in range(40_000):
            if not calm and (turn >= 3000 or len(runs) > 12):
                world.trouble = sim.store.trouble = 0.0
                calm = True
            if not alive or (len(alive) < 2 and not calm and faults.strikes(_chance_of_another(sim, alive[0]), "one more run")):
                run = runs[f"run-{len(runs)}"] = Run(sim, f"run-{len(runs)}", rng.choice(("here", "there")))
                alive.append(run)
            if sim.leaps:
                sim.now_s = max(sim.now_s, min([run.wakes_s for run in alive]))
            awake = [run for run in alive if run.wakes_s <= sim.now_s]
            sim.now_s += 0.1 + rng.random() * 0.4
            sim.store.settle()
            if not awake:
                continue
            run = rng.choice(awake)
            current[:] = [run]
            _one_turn(sim, run, calm)
            if run.alive:
                continue
            alive.remove(run)
            assert "exit" not in run.outcome or not run.rests, f"nothing is wrong but some workers, and a run ends: {run.outcome}"
            if run.outcome == "finished" and _is_done(sim, run):
                return
            if run.outcome.startswith("exit 2"):
                _check_given_up_for_good(sim, run)
                return
        raise AssertionError("no run ever finished")


def _chance_of_another(sim: Simulation, run: Run) -> float:
    """That somebody starts a run beside this one: of a run that is stopped most likely, since it shows no sign of life."""
    return 0.03 if not sim.leaps else 0.7 if run.stopped_until_s > sim.now_s else 0.06


def _one_turn(sim: Simulation, run: Run, calm: bool) -> None:
    """A run is killed, or stopped for a while, or its clock jumps, or it takes its next step."""
    faults, rng = sim.faults, sim.world.rng
    rate = 3.0 if sim.leaps else 1.0  # about as often in a run's life, whose turns are fewer then
    if not calm and faults.strikes(0.004 * rate, "SIGKILL"):
        run.kill()
    elif not calm and faults.strikes(0.01 * rate, "SIGSTOP"):
        run.wakes_s = run.stopped_until_s = sim.now_s + rng.choice((5.0, LEASE_S * (1.0 + 0.4 * rng.random()) if sim.leaps else 30.0, 100.0))
        sim.tell("{} is stopped until {}", run.name, f"{run.wakes_s:.1f}")
    elif not calm and faults.strikes(0.003 * rate, "clock"):
        run.jump_s += rng.choice((5.0, 30.0))
    else:
        newest, before = max(sim.driving, default=0), len(sim.store.created)
        run.step()
        if len(sim.store.created) > before:
            _check_fence(run, sim.store.created[before:], newest)


def _check_fence(run: Run, created: list[str], newest: int) -> None:
    """Once a run drives that took over, nobody who held the lease before it commits. newest: token that drove before this step."""
    if run.lease is not None and any(name.startswith(COMMITS) for name in created):
        assert newest <= run.lease.token, f"{run.name} commits with token {run.lease.token} while token {newest} drives"


def _is_done(sim: Simulation, run: Run) -> bool:
    """Whether that was the end; all that must be true then."""
    committed, world = check_log(sim), sim.world
    given_up = {failed.partition: failed.kind for failed in run.failures}
    if any(kind in ("storage", "defect") for kind in given_up.values()):
        return False
    kinds = run.kinds
    sound = kinds.count("healthy") + kinds.count("slow")
    if run.began_calm and sim.moves is None and sim.workers > 1 and sound > 1 and kinds.count("broken") < 2 and not kinds.count("silent"):
        assert set(given_up) <= world.poison | world.killers, f"{sorted(given_up)} given up, though nothing is wrong with some of them"
    for number, shards in world.shards.items():
        if number not in given_up:
            assert {ordinal for of, ordinal in committed if of == number} == set(range(len(shards))), f"partition {number} is not complete"
    return True


def _check_given_up_for_good(sim: Simulation, run: Run) -> None:
    """Exit 2: no worker is left, and this run has committed nothing."""
    assert "no worker is left" in run.outcome, run.outcome
    check_log(sim)


def check_log(simulation: Simulation) -> set[tuple[int, int]]:
    """Every commit that stands: each shard once, as it is published; tokens never go back. The keys that are committed."""
    seen: set[tuple[int, int]] = set()
    newest, files = 0, simulation.store.files
    for name in sorted(name for name in files if name.startswith(COMMITS)):
        token, made = decode_commit(files[name])
        assert token >= newest, f"{name} is of token {token}, after one of token {newest}"
        newest = token
        for one in made:
            key = (one.partition, one.ordinal)
            assert key not in seen, f"{key} is in two commits"
            assert simulation.world.published[key] == one, f"{key}: the receipt is not of what is there"
            assert one.rows_in == one.rows_out + one.rows_quarantined
            seen.add(key)
    return seen
