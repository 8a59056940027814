"""What Ray's own start takes on this machine, without embermill: the floor under the table that `embermill run --verbose` prints.

    python -m tests.bench.plain_ray_start [--turns 3]

Each turn is a process: import of ray, `ray.init` as plain as it can be (as it is by itself; then as jobs/pool/lean_ray.py starts it), one actor that answers,
and in it the import of cupy with a context on its GPU, or of numpy where there is no GPU. One JSON line a turn, in seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


class Loader:
    def where(self) -> int:
        return os.getpid()

    def load(self, gpu: bool) -> float:
        begin_s = time.monotonic()
        if gpu:
            import cupy

            cupy.zeros(1)
            cupy.cuda.Device().synchronize()
        else:
            import numpy  # noqa: F401
        return time.monotonic() - begin_s


def turn(kind: str) -> dict[str, Any]:
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_AUTH_MODE": "disabled"})
    seconds: dict[str, float] = {}
    at_s = time.monotonic()

    def done(step: str) -> None:
        nonlocal at_s
        now_s = time.monotonic()
        seconds[step], at_s = round(now_s - at_s, 2), now_s

    import ray

    done("import ray")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="p", ignore_cleanup_errors=True)))
        options: dict[str, Any] = {}
        if kind == "lean":
            from embermill.jobs.pool.lean_ray import job_config, lean

            stack.enter_context(lean({}, folder, lambda: None, logs=False))
            options = {"job_config": job_config()}
            at_s = time.monotonic()
        ray.init(
            address="local", _temp_dir=str(folder), object_store_memory=128 << 20, include_dashboard=False, log_to_driver=False,
            logging_level=logging.ERROR, configure_logging=False, **options,
        )  # fmt: skip
        done("ray.init")
        gpu = ray.cluster_resources().get("GPU", 0) > 0
        actor: Any = ray.remote(Loader).options(num_cpus=1, num_gpus=int(gpu)).remote()  # type: ignore[attr-defined]
        ray.get(actor.where.remote())
        done("actor answers")
        inside: float = ray.get(actor.load.remote(gpu))
        done("import cupy and a context" if gpu else "import numpy")
        ray.shutdown()
        done("ray.shutdown")
    return {"kind": kind, "gpu": gpu, "cores": os.cpu_count(), "ray": ray.__version__, "seconds": seconds, "of it in the actor": round(inside, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--turn", choices=("plain", "lean"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turn:
        print(json.dumps(turn(arguments.turn)), flush=True)
        return 0
    again = [sys.executable, "-m", "tests.bench.plain_ray_start", "--turn"]
    codes = [subprocess.run([*again, kind], check=False).returncode for kind in ("plain", "lean") * arguments.turns]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
