"""A driver of Ray's without embermill: what Ray itself keeps of actors that die. The soak runs it beside its job and takes its growth from that of the job.

    python -m tests.bench.plain_actors [--actors 2] [--every 1.0]       begun with TMPDIR set: the session lies there

Actors as jobs/pool/ray_pool.py makes them: a name, a place, variables of their own, one stream of messages that is read as that pool reads it, a call for
every second message. A line "kill" on standard input kills one with SIGKILL; another takes its place. The end of standard input ends it. Prints a JSON
line every ten seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import os
import pickle
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Talker:
    def __init__(self) -> None:
        self.tasks = 0

    def run(self, job: bytes, every_s: float, size: int) -> Iterator[bytes]:
        yield pickle.dumps(os.getpid())
        while True:
            time.sleep(every_s)
            yield bytes(size)

    @ray.method(concurrency_group="tasks")
    def submit(self, task: bytes) -> None:
        self.tasks += 1


class Driver:
    """Keeps so many actors; every_s: how often each says something, size: in so many bytes."""

    def __init__(self, actors: int, every_s: float, size: int) -> None:
        self._every_s, self._size, self._node = every_s, size, ray.get_runtime_context().get_node_id()
        self._streams: dict[Any, tuple[Any, int]] = {}  # -> (actor, its process)
        remote: Any = ray.remote  # its annotations do not know of concurrency groups
        self._actor_class = remote(concurrency_groups={"tasks": 1})(Talker)
        self.begun = self.deaths = self.messages = self.calls = 0
        for _ in range(actors):
            self._begin()

    def _begin(self) -> None:
        self.begun += 1
        actor = self._actor_class.options(
            name=f"plain {self.begun}", namespace="plain", num_cpus=1, max_restarts=0, max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(self._node, soft=False), runtime_env={"env_vars": dict.fromkeys(THREADS, "1")},
        ).remote()  # fmt: skip
        self._streams[actor.run.options(num_returns="streaming").remote(bytes(4000), self._every_s, self._size)] = actor, 0

    def listen(self) -> None:
        """As RayPool.events does, for half a second at most."""
        streams = list(self._streams)
        ready: list[Any]
        ready, _ = ray.wait(streams, num_returns=1, timeout=0.5, fetch_local=False)
        if ready and len(streams) > 1:
            ready, _ = ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
        for stream in ready:
            actor, pid = self._streams[stream]
            try:
                said: Any = ray.get(next(stream))
            except Exception:
                del self._streams[stream]
                ray.kill(actor)
                del actor
                self.deaths += 1
                gc.collect(1)  # of Ray's errors, which are held by the frames that they hold
                self._begin()
                continue
            self.messages += 1
            if not pid:
                self._streams[stream] = actor, pickle.loads(said)
            elif self.messages % 2:
                self.calls += 1
                actor.submit.remote(bytes(1000))

    def kill_one(self, rng: random.Random) -> None:
        pids = [pid for _, pid in self._streams.values() if pid]
        with contextlib.suppress(ProcessLookupError):
            if pids:
                os.kill(rng.choice(pids), signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=1000)
    arguments = parser.parse_args()
    ray.init(
        address="local", _temp_dir=tempfile.mkdtemp(prefix="p"), num_cpus=arguments.actors, object_store_memory=128 << 20, include_dashboard=False,
        log_to_driver=False, logging_level=logging.ERROR, configure_logging=False,
    )  # fmt: skip
    driver, rng, told_s = Driver(arguments.actors, arguments.every, arguments.size), random.Random(0), 0.0
    while True:
        driver.listen()
        if select.select([sys.stdin], [], [], 0)[0]:
            if not sys.stdin.readline():
                ray.shutdown()
                return 0
            driver.kill_one(rng)
        if time.monotonic() - told_s > 10:
            told_s = time.monotonic()
            print(json.dumps({"deaths": driver.deaths, "messages": driver.messages, "calls": driver.calls}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
