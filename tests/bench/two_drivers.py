"""Two and three drivers on one empty output at once, with other views of the corpus, other bytes for the same tables, and puts that arrive late.

    python -m tests.bench.two_drivers [--planners N] [--drivers N] [--commands N] [--seed S]

planners: rounds in which all write their plans with no lease between them. drivers: rounds of lease, plan, shards, commits and manifest, by the modules
of production, in threads. commands: rounds of the real command, two or three processes started within a second, while the corpus grows.
After each round the dataset must read as one driver's plan, and verify. tests/jobs/test_two_drivers.py does a sample.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import yaml

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.completeness import unfinished
from embermill.jobs.dataset.metadata.lease import hold_lease
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.dataset.metadata.reconcile import reconcile
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.errors import AnotherRun
from embermill.jobs.plan.files import Plan, read_plan, write_plan
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import AlreadyExists, open_folder
from embermill.jobs.storage.local import LocalFolder
from tests.jobs.sample_dataset import PROVENANCE, embed, make_batch, make_plan

ROOT = Path(__file__).parent.parent.parent
LONGEST_DELAY_S = 0.02


class LateFolder(LocalFolder):
    """Its puts arrive late: by nothing, or by up to LONGEST_DELAY_S."""

    def __init__(self, root: Path, rng: random.Random) -> None:
        super().__init__(str(root))
        self._rng = rng

    def create(self, name: str, data: bytes) -> None:
        if self._rng.random() < 0.5:
            time.sleep(self._rng.uniform(0, LONGEST_DELAY_S))
        super().create(name, data)


def view(rng: random.Random, driver: int) -> Plan:
    """The same job over what one driver sees of the corpus: files that came later, other partitions, other bytes."""
    plan = make_plan(rng.choice((1, 2)), rows=20, rows_per_shard=20)
    if rng.random() < 0.7:
        listing = (*plan.listing, {**plan.listing[0], "path": f"/corpus/late-{driver}.parquet"})
        plan = replace(plan, listing=listing)
    return plan


def at_once(drivers: int, drive: Callable[[int], str]) -> Counter[str]:
    """What each of them came to. An exception that none should raise is raised here."""
    barrier = threading.Barrier(drivers)
    came_to: list[str] = []
    failed: list[BaseException] = []

    def begin(number: int) -> None:
        barrier.wait()
        try:
            came_to.append(drive(number))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(drivers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return Counter(came_to)


def planner_round(root: Path, seed: int) -> Counter[str]:
    """No lease at all: whoever creates the root first decides, and every other finds a plan that reads."""
    rng = random.Random(seed)
    drivers = rng.choice((2, 3))
    seeds, plans = [rng.random() for _ in range(drivers)], [view(rng, number) for number in range(drivers)]
    read: list[Plan | None] = []

    def drive(number: int) -> str:
        folder = LateFolder(root, random.Random(seeds[number]))
        try:
            write_plan(folder, plans[number])
            came_to = "wrote"
        except AlreadyExists:
            came_to = "took over"
        read.append(read_plan(folder))
        return came_to

    came_to = at_once(drivers, drive)
    assert read[0] is not None and told(read[0]) in map(told, plans), "the plan is one driver's, whole"
    assert all(plan == read[0] for plan in [*read, read_plan(open_folder(str(root)))]), "and every driver reads the same one"
    return came_to


def told(plan: Plan) -> tuple[list[str], list[object]]:
    """What differs from view to view."""
    return [partition.id for partition in plan.partitions], [entry["path"] for entry in plan.listing]


def driver_round(root: Path, seed: int) -> Counter[str]:
    """As `run` goes: lease, plan, stock, shards, commits, manifest."""
    rng = random.Random(seed)
    drivers = rng.choice((2, 3))
    seeds, plans = [rng.random() for _ in range(drivers)], [view(rng, number) for number in range(drivers)]

    def drive(number: int) -> str:
        folder = LateFolder(root, random.Random(seeds[number]))
        try:
            with hold_lease(folder, lease_s=30, show=lambda _: None) as lease:
                log = CommitLog(folder, lease.token)
                plan = read_plan(folder)
                if plan is None:
                    plan = plans[number]
                    write_plan(folder, plan)
                reconcile(folder, plan, log)
                left = unfinished(plan, log.table()).tolist()
                for number in left:
                    with ShardWriter(folder, plan, plan.partitions[number], 0) as writer:
                        batch = make_batch(0, 20, prefix=f"p{number}")
                        writer.write(batch, embed(batch))
                        log.append([writer.finish(True, PROVENANCE)])
                lease.require_held()
                publish_manifest(folder, plan, log)
                return "worked" if left else "found it finished"
        except AnotherRun:
            return "exit 4"

    came_to = at_once(drivers, drive)
    assert came_to["worked"] == 1, came_to
    assert verify(open_folder(str(root))).to_json()["finished"]
    return came_to


def command_round(root: Path, seed: int) -> Counter[str]:
    """The real command in processes of its own, started within a second; a file appears in the corpus between the starts."""
    rng = random.Random(seed)
    (root / "corpus").mkdir(parents=True)
    for number in range(3):
        (root / f"corpus/{number}.txt").write_text("".join(f"text {row} of {number}\n" for row in range(30)))
    settings = {
        "model": {"engine": "python:tests.jobs.engines:SlowEngine"},
        "corpus": {"files": [str(root / "corpus")], "partition_text_bytes": 400},
        "output": {"uri": str(root / "out")},
        "workers": {"count": 1},
    }
    (root / "job.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "embermill", "run", str(root / "job.yaml"), "--json"]
    processes = []
    for number in range(rng.choice((2, 3))):
        processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        time.sleep(rng.uniform(0, 0.4))
        (root / f"corpus/late-{number}.txt").write_text("a text that came late\n")
    answers = [process.communicate(timeout=300) for process in processes]
    codes = Counter(str(process.returncode) for process in processes)
    if codes["33"] == 1:  # Ray did not come up in time on a busy machine: run again
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        codes += Counter({str(again.returncode): 1})
        codes["33"] = 0
        answers.append((again.stdout, again.stderr))
    assert codes["0"] == 1 and codes["4"] == len(processes) - 1, (codes, [errors[-500:] for _, errors in answers])
    assert verify(open_folder(str(root / "out"))).to_json()["finished"]
    return codes


def rounds(count: int, seed: int, body: Callable[[Path, int], Counter[str]]) -> dict[str, object]:
    begin, came_to = time.monotonic(), Counter[str]()
    for number in range(count):
        folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").exists() else None))
        try:
            came_to += body(folder / "out", seed + number)
        except BaseException:
            print(f"seed {seed + number}", file=sys.stderr)
            raise
        finally:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
    return {"rounds": count, "sound": count, "drivers": dict(came_to), "seconds": round(time.monotonic() - begin)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("planners", "drivers", "commands", "seed"):
        parser.add_argument(f"--{name}", type=int, default=0)
    arguments = parser.parse_args()
    bodies = {"planners": planner_round, "drivers": driver_round, "commands": command_round}
    for name, body in bodies.items():
        if getattr(arguments, name):
            print(json.dumps({name: rounds(getattr(arguments, name), arguments.seed, body)}), flush=True)


if __name__ == "__main__":
    main()
