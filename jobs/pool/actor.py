"""The Ray actor that a worker runs in. It needs little to be started, and may be before anybody knows what it is to do: it then imports what any worker needs.

With ray_pool, ray_session, demand and lean_ray the only room that imports ray.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import embermill
from embermill.jobs.pool.placement import Share

PACKAGE_FOLDER = str(Path(embermill.__file__).parent.parent)


def start_actor(
    name: str, namespace: str, node: str, share: Share, *, gpus: int, resources: Mapping[str, float], environment: Mapping[str, str] | None = None
) -> Any:
    """Its handle. name: what Ray's dashboard calls it, unique in the namespace. node: Ray's name for it. environment: which Ray is to give it."""
    options: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "num_cpus": share.cpus,
        "num_gpus": gpus,
        "resources": dict(resources),
        "max_restarts": 0,
        "max_task_retries": 0,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
    }
    if environment is not None:
        options["runtime_env"] = {"env_vars": dict(environment)}
    return _actor_class().options(**options).remote()


@functools.cache
def _actor_class() -> Any:
    """It is made inside a function so that Ray ships it by value: unpickling it imports nothing of ours before a method has seen to the path.

    Made once: each further class would be kept, in the driver and in Ray's control store, for every worker that is replaced.
    """

    class EmbeddingWorker:
        def __init__(self) -> None:
            import queue

            self._tasks: Any = queue.SimpleQueue()

        def prepare(self, package_folder: str, environment: dict[str, str], engine: str, device: str) -> None:
            """Import what any worker of that engine needs. What goes wrong here goes wrong again where it is judged."""
            self._see_to_the_path(package_folder, environment)
            from embermill.jobs.pool.remote_worker import import_ahead

            import_ahead(engine, device)

        def run(self, package_folder: str, job: bytes, environment: dict[str, str]) -> Iterator[bytes]:
            """Batches of events, pickled, from Ready to the end."""
            import os
            import pickle
            import socket

            yield pickle.dumps((socket.gethostname(), ray.get_runtime_context().get_node_id(), os.getpid()))
            self._see_to_the_path(package_folder, environment)
            from embermill.jobs.pool.remote_worker import run_worker

            yield from run_worker(job, self._tasks)

        @staticmethod
        def _see_to_the_path(package_folder: str, environment: dict[str, str]) -> None:
            import os
            import sys
            from pathlib import Path

            # A submitted job's working directory, or the current folder, may hold folders called like ours: they come last.
            here = ("", str(Path.cwd()), os.environ.get("RAY_RUNTIME_ENV_WORKING_DIR"))
            shadowing = [entry for entry in sys.path if entry != package_folder and entry in here]
            sys.path[:] = [entry for entry in sys.path if entry not in shadowing] + shadowing
            os.environ.update(environment)  # it is there already, but where somebody else's session had started Ray for workers with other threads

        @ray.method(concurrency_group="tasks")
        def submit(self, task: bytes) -> None:  # a thread of its own: `run` never ends
            self._tasks.put(task)

    EmbeddingWorker.__qualname__ = EmbeddingWorker.__name__  # what Ray's dashboard shows
    remote: Any = ray.remote  # its annotations do not know of concurrency groups
    return remote(concurrency_groups={"tasks": 1})(EmbeddingWorker)
