"""A job on hosts that join, leave, and lose their network, submitted from outside: what is done to it, and what must be true afterwards.

    python -m tests.jobs.cluster.rounds [--hosts 4] [--gpus] [EVENT…]         one job for each event unless --together; prints a JSON line for each
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow.parquet as pq
import yaml

from embermill.jobs.config import load_config
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.process.device_tuning import DEVICE_TUNING
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from tests.jobs.cluster.hosts import RayHosts, missing, network
from tests.jobs.command_line import open_inline_pool

ROWS_OF_A_PARTITION, SECONDS_OF_A_PARTITION = 20, 1.0
PATIENCE_S = 300.0  # on a machine that has other work
FAIR_SHARE = 0.8  # of what is left when a worker joins, at least
NEW_CAPACITY_S = 30.0  # within so long a node that has joined has work
ENGINE = textwrap.dedent(f"""
    import os, socket, time
    from pathlib import Path
    import numpy as np
    from embermill.jobs.engine import Embedded, Output

    class Engine:
        '''Takes its time while the file `slow` is in model.source, and takes down in `log` there what it was given.'''

        def __init__(self, model, *, device, threads):
            self.place = Path(model.source)

        def fingerprint(self):
            return {{"model.engine": "sleepy"}}

        def outputs(self):
            return (Output("embedding", "dense", "float32", 2),)

        def embed(self, texts):
            for batch in texts:
                rows = [text.split()[-1] for text in batch.to_pylist()]
                with (self.place / "log" / f"{{socket.gethostname()}}-{{os.getpid()}}").open("a") as log:
                    print(time.time(), *rows, file=log)
                if (self.place / "slow").exists():
                    time.sleep({SECONDS_OF_A_PARTITION} * len(rows) / {ROWS_OF_A_PARTITION})
                vectors = np.array([[float(row), 1.0] for row in rows], np.float32)
                ones = np.ones(len(rows), np.int32)
                yield Embedded({{"embedding": vectors}}, ones, 0 * ones)
""")


@dataclass(frozen=True)
class Embedded:
    """What a worker's engine was given at once. at: Unix time."""

    at: float
    host: str
    process: str
    rows: tuple[str, ...]


class Job:
    """One dataset. folder: on the disk that all hosts share."""

    def __init__(self, hosts: RayHosts, folder: Path, partitions: int, *, gpus: bool = False, **workers: Any) -> None:
        self.hosts, self.folder, self.partitions = hosts, folder, partitions
        self.queued = DEVICE_TUNING["gpu" if gpus else "cpu"].queued_per_worker
        for name in ("code", "log", "corpus"):
            (folder / name).mkdir(parents=True)
        (folder / "code/sleepy.py").write_text(ENGINE)
        rows = range(partitions * ROWS_OF_A_PARTITION)
        (folder / "corpus/a.jsonl").write_text("\n".join(json.dumps({"id": f"r{row}", "text": f"document {row:06d}"}) for row in rows))
        self.workers = {"device": "auto" if gpus else "cpu"} | workers
        with mock.patch("embermill.jobs.run.open_pool", open_inline_pool), mock.patch.object(sys, "path", [*sys.path, str(folder / "code")]):
            self.right = run(load_config(self._write("right", {"device": "cpu"}))).output
        sys.modules.pop("sleepy", None)
        for log in (folder / "log").iterdir():
            log.unlink()
        self.slow(True)

    def slow(self, is_slow: bool) -> None:
        (self.folder / "slow").touch() if is_slow else (self.folder / "slow").unlink(missing_ok=True)

    def submit(self) -> subprocess.Popen[str]:
        job = self._write(self.folder.name, self.workers)
        return self.hosts.embermill("submit", job, "--working-dir", self.folder / "code", "--name", self.folder.name)

    def embedded(self) -> list[Embedded]:
        """In the order of time."""
        found = []
        for log in (self.folder / "log").iterdir():
            host = log.name.rpartition("-")[0]
            for line in log.read_text().splitlines():
                at, *rows = line.split()
                found.append(Embedded(float(at), host, log.name, tuple(rows)))
        return sorted(found, key=lambda each: each.at)

    def by_host(self, since: float = 0.0) -> Counter[str]:
        return Counter({host: sum(len(each.rows) for each in self.embedded() if each.host == host and each.at >= since) for host in self._hosts()})

    def _hosts(self) -> set[str]:
        return {each.host for each in self.embedded()}

    def repeated(self) -> int:
        """Partitions of which rows were embedded more than once; each has one shard."""
        times = Counter(int(row) for each in self.embedded() for row in each.rows)
        shards = [pq.read_table(file, columns=["id"]).column("id").to_pylist() for file in Path(self.right).glob("data/*.parquet")]
        return sum(any(times[int(id[1:])] > 1 for id in ids) for ids in shards)

    def faults(self) -> list[str]:
        """Where the dataset is not as an undisturbed run leaves it."""
        output = open_folder(str(self.folder / self.folder.name))
        found = differences(open_folder(self.right), output)
        return found if verify(output).to_json()["ok"] else [*found, "verify finds faults"]

    def _write(self, name: str, workers: dict[str, Any]) -> Path:
        settings = {
            "model": {"engine": "python:sleepy:Engine", "source": str(self.folder)},
            "corpus": {"files": [str(self.folder / "corpus/*.jsonl")], "partition_text_bytes": 15 * ROWS_OF_A_PARTITION},
            "output": {"uri": str(self.folder / name), "lease_s": 10},
            "workers": workers,
        }
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(settings))
        return file


class Rounds:
    """names: of the workers' hosts that are there from the beginning."""

    def __init__(self, hosts: RayHosts, folder: Path, names: list[str], *, gpus: bool = False) -> None:
        self.hosts, self.folder, self.names, self._gpus = hosts, folder, names, gpus
        self._added = self._jobs = 0
        self._client: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.hosts.start_head()
        self.hosts.await_dashboard()
        for name in self.names:
            self.boot(name)
        self.await_nodes(set(self.names))

    def boot(self, name: str) -> None:
        self.hosts.start(name, cpus=1, gpus=1 if self._gpus else 0)

    def await_nodes(self, names: set[str]) -> None:
        """Until exactly these workers' hosts are in the cluster."""
        wanted = {self.hosts.network.host(name).address for name in names} | {self.hosts.head.address}
        self.await_true(lambda: self.hosts.alive() == wanted, f"nodes {names}")

    def round(self, events: list[str], partitions: int = 400) -> dict[str, Any]:
        """One job, and what happens to it; what was seen. `faults` is empty where all is right."""
        self._jobs += 1
        job = Job(self.hosts, self.folder / f"job-{self._jobs}-{'-'.join(events)}"[:50], partitions, gpus=self._gpus)
        self._job, self._client, self._faults, self._lost = job, job.submit(), list[str](), 0
        client: subprocess.Popen[str] | None = None
        found: dict[str, Any] = {"events": events, "hosts": len(self.names)}
        began_s = time.monotonic()
        try:
            self.await_true(lambda: {each.host for each in job.embedded()} == set(self.names), "work on every host")
            found["seconds_to_first_work"] = round(job.embedded()[0].at - time.time() + time.monotonic() - began_s, 1)
            for event in events:
                found |= getattr(self, event)()
            job.slow(False)
            client, self._client = self._client, None
            assert client is not None
            out, err = client.communicate(timeout=PATIENCE_S)
        finally:
            for each in (client, self._client):
                if each is not None:
                    _end(each)
        if client.returncode != 0:
            self._faults.append(f"exit code {client.returncode}: {err[-1500:]}{out[-500:]}")
        repeated = job.repeated()
        if repeated > self._lost * job.queued:
            self._faults.append(f"{repeated} partitions were repeated, and {self._lost} workers were lost that had {job.queued} each")
        return found | {"repeated": repeated, "workers_lost": self._lost, "rows_by_host": dict(job.by_host()), "faults": self._faults + job.faults()}

    # -- events

    def undisturbed(self) -> dict[str, Any]:
        time.sleep(5)
        return {}

    def killed(self) -> dict[str, Any]:
        """A host fails for good."""
        self._lost += 1
        self.hosts.network.host(self.names[-1]).kill()
        killed_s = time.time()
        self._job_moves_on(self.names[:-1], killed_s)
        self.names = self.names[:-1]
        self.await_true(lambda: len(self.hosts.alive()) == 1 + len(self.names), "the dead node to be noticed")
        return {"noticed_after_s": round(time.time() - killed_s, 1)}

    def added(self) -> dict[str, Any]:
        """One more joins."""
        self._added += 1
        name = f"added-{self._added}"
        begin_s = time.time()
        self.boot(name)
        self.names = [*self.names, name]
        self.await_nodes(set(self.names))
        joined_s = self._joined_s = time.time()
        self.await_true(lambda: self._job.by_host()[name] > 0, f"work on {name}")
        first_s = next(each.at for each in self._job.embedded() if each.host == name)
        if first_s - joined_s > NEW_CAPACITY_S:
            self._faults.append(f"{name} got work {first_s - joined_s:.0f} s after it had joined")
        return {"joined_after_s": round(joined_s - begin_s, 1), "work_after_joining_s": round(first_s - joined_s, 1)}

    def late(self) -> dict[str, Any]:
        """One joins at half time, and does its share of the rest; the job is not hurried to its end."""
        total = self._job.partitions * ROWS_OF_A_PARTITION
        self.await_true(lambda: sum(self._job.by_host().values()) >= total / 2, "half of the rows")
        found = self.added()
        name, client = self.names[-1], self._client
        assert client is not None
        while client.poll() is None:
            time.sleep(0.5)
        for what, since_s in (("after_joining", self._joined_s), ("after_its_first_work", next(each.at for each in self._job.embedded() if each.host == name))):
            rest = self._job.by_host(since_s)
            found[f"share_{what}"] = round(rest[name] / (sum(rest.values()) / len(self.names)), 2)
        if found["share_after_joining"] < FAIR_SHARE:
            self._faults.append(f"{name} did {found['share_after_joining']:.0%} of its fair share")
        return found

    def cut_10(self) -> dict[str, Any]:
        """A short partition: no worker is lost."""
        name, before = self.names[-1], {each.process for each in self._job.embedded()}
        host, begin_s = self.hosts.network.host(name), time.time()
        host.cut()
        time.sleep(10)
        host.mend()
        mended_s = time.time()
        self._job_moves_on(self.names, mended_s + 2)
        if new := {each.process for each in self._job.embedded()} - before:
            self._faults.append(f"a partition of 10 s: {new} had to be started")
        after_s = next(each.at for each in self._job.embedded() if each.host == name and each.at > mended_s) - mended_s
        return {"cut_10_s": round(mended_s - begin_s, 1), "cut_10_work_after_s": round(after_s, 1)}

    def cut_180(self) -> dict[str, Any]:
        """A long one: the node is lost, is restarted, and gets work again."""
        name, before = self.names[-1], {each.process for each in self._job.embedded()}
        self._lost += 1
        host, begin_s = self.hosts.network.host(name), time.time()
        host.cut()
        self.await_true(lambda: host.address not in self.hosts.alive(), f"{name} to be taken for lost")
        lost_s = time.time()
        self._job_moves_on(self.names[:-1], lost_s)
        time.sleep(max(0, begin_s + 180 - time.time()))
        host.mend()
        mended_s = time.time()
        self.await_true(lambda: host.address in self.hosts.alive(), f"{name} to join again")
        joined_s = time.time()
        self.await_true(lambda: any(each.host == name and each.process not in before for each in self._job.embedded()), f"work on {name}")
        first_s = next(each.at for each in self._job.embedded() if each.host == name and each.process not in before)
        if first_s - joined_s > NEW_CAPACITY_S:
            self._faults.append(f"{name} got work {first_s - joined_s:.0f} s after it had joined again")
        return {"lost_after_s": round(lost_s - begin_s, 1), "joined_again_s": round(joined_s - mended_s, 1), "work_after_s": round(first_s - joined_s, 1)}

    def head_killed(self) -> dict[str, Any]:
        """The job ends, and is resumed on the next head."""
        self._lost += len(self.names)
        self.hosts.head.kill()
        killed_s = time.time()
        assert self._client is not None
        _end(self._client)
        self._client = None
        self.hosts.start_head()
        self.hosts.await_dashboard()
        self.await_nodes(set(self.names))
        back_s = time.time()
        self._client = self._job.submit()
        self._job_moves_on(self.names, back_s)
        return {"cluster_back_after_s": round(back_s - killed_s, 1)}

    # -- waiting

    def _job_moves_on(self, names: list[str], since_s: float) -> None:
        self.await_true(lambda: all(self._job.by_host(since_s)[name] for name in names), f"work on {names}")

    def await_true(self, happened: Callable[[], bool], what: str) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while not happened():
            client = self._client
            if client is not None and client.poll() is not None:
                raise AssertionError(f"{what}: the job has ended: {client.communicate()}")
            if time.monotonic() > until_s:
                raise AssertionError(f"{what} did not come within {PATIENCE_S:.0f} s")
            time.sleep(0.5)


def _end(client: subprocess.Popen[str]) -> None:
    client.kill()
    client.communicate()


EVENTS = ("undisturbed", "added", "killed", "cut_10", "cut_180", "head_killed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", nargs="*", default=[*EVENTS], metavar="EVENT", help=", ".join((*EVENTS, "late")))
    parser.add_argument("--partitions", type=int, help="of a job; of one second each")
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--gpus", action="store_true", help="each host declares a GPU that it does not have")
    parser.add_argument("--together", action="store_true", help="all events befall one job")
    parser.add_argument("--keep", metavar="FOLDER", help="do not remove what was made")
    args = parser.parse_args()
    if why := missing():
        raise SystemExit(why)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the hosts end with it
    with _place(args.keep) as place, network() as made:
        rounds = Rounds(RayHosts(made, Path(place) / "logs"), Path(place), [f"host-{number}" for number in range(1, args.hosts + 1)], gpus=args.gpus)
        rounds.start()
        faults = 0
        for events in [args.events] if args.together else [[event] for event in args.events]:
            found = rounds.round(events, partitions=args.partitions or 200 * (1 + 2 * len(events)))
            faults += len(found["faults"])
            print(json.dumps(found), flush=True)
        return 1 if faults else 0


def _place(kept: str | None) -> contextlib.AbstractContextManager[str]:
    if kept is None:
        return tempfile.TemporaryDirectory(prefix="embermill-rounds-")
    Path(kept).mkdir(parents=True, exist_ok=True)
    return contextlib.nullcontext(kept)


if __name__ == "__main__":
    sys.exit(main())
