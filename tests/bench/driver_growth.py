"""What a driver holds more of with each partition and with each worker that dies, without Ray: bytes in use by malloc, which slack in the heap does not hide.

    python -m tests.bench.driver_growth [--rows 4000000] [--kill-every 4]

The soak's job with an engine that costs nothing, and workers in processes that are killed all the time. Python and Arrow take their memory from malloc here.
The last line: bytes in use over partitions, by least squares, in fifths of the job between its first tenth and its last, and how many workers died.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
import psutil
import yaml

from embermill.jobs.config import load_config
from embermill.jobs.process.allocators import DRIVER_SETTINGS
from embermill.jobs.run import run
from tests.bench.process_pool import open_process_pool
from tests.bench.soak import configure
from tests.bench.without_ray import without_ray

SETTINGS = DRIVER_SETTINGS | {"PYTHONMALLOC": "malloc"}
WORKERS = 2
GROWN_UP_S = 3.0  # a worker younger than that has done nothing yet
MALL_INFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
PARTS = (0.1, 0.3, 0.5, 0.7, 0.9)  # of the job


class MallInfo(ctypes.Structure):
    """struct mallinfo2 of malloc.h"""

    _fields_ = [(name, ctypes.c_size_t) for name in MALL_INFO]


class Watch:
    """samples: (shards, bytes in use) twice a second."""

    def __init__(self, data: Path, kill_every_s: float) -> None:
        self._data, self._kill_every_s = data, kill_every_s
        self.samples: list[tuple[int, int]] = []
        self.killed = 0
        self._libc = ctypes.CDLL(None)
        self._libc.mallinfo2.restype = MallInfo
        threading.Thread(target=self._sample, daemon=True).start()
        if kill_every_s:
            threading.Thread(target=self._kill, daemon=True).start()

    def _sample(self) -> None:
        while True:
            info = self._libc.mallinfo2()
            if self._data.exists():
                self.samples.append((sum(1 for _ in self._data.iterdir()), info.uordblks + info.hblkhd))
            time.sleep(0.5)

    def _kill(self) -> None:
        before = 0
        for turn in itertools.count():
            time.sleep(self._kill_every_s)
            shards = self.samples[-1][0] if self.samples else 0
            if shards == before:
                continue  # a job whose workers are lost with nothing to do ends
            before = shards
            workers = [child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline())]
            if workers and time.time() - (worker := workers[turn % len(workers)]).create_time() > GROWN_UP_S:
                worker.send_signal(signal.SIGKILL)
                self.killed += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--kill-every", type=float, default=4.0, help="seconds; 0: no worker is killed")
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        os.environ.update(SETTINGS)
        os.execv(sys.executable, [sys.executable, "-m", "tests.bench.driver_growth", *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as folder:
        job = configure(Path(folder), "grown", arguments.rows)
        told = yaml.safe_load(job.read_text())
        told["model"]["engine"] = "python:tests.bench.stub_engine:StubEngine"
        job.write_text(yaml.safe_dump(told))
        without_ray(WORKERS)
        watch = Watch(Path(folder) / "grown" / "data", arguments.kill_every)
        with mock.patch("embermill.jobs.run.open_pool", open_process_pool):
            run(load_config(job))
        shards, used = np.array(watch.samples, np.float64).T
    slopes = {}
    for first, last in itertools.pairwise(PARTS):
        within = (shards > first * shards.max()) & (shards < last * shards.max())
        slopes[f"{first} to {last}"] = round(float(np.polyfit(shards[within], used[within], 1)[0]))
    print(json.dumps({"shards": int(shards.max()), "killed": watch.killed, "bytes_a_shard": slopes, "megabytes": round(used.max() / 1e6, 1)}))


if __name__ == "__main__":
    main()
