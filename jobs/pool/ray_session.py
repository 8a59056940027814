"""One connection to Ray: a private cluster on this machine, or one that is there already. With ray_pool, actor, demand and lean_ray all that imports ray."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import ray
import ray._private.worker

from embermill.jobs.config import JobConfig, WorkersConfig
from embermill.jobs.errors import Interrupted, UsageError
from embermill.jobs.pool.actor import PACKAGE_FOLDER, start_actor
from embermill.jobs.pool.beside import Beside
from embermill.jobs.pool.lean_ray import can_be_lean, is_lean, job_config, lean, marked_lean
from embermill.jobs.pool.placement import Node, Placement, Share, place, share_of
from embermill.jobs.pool.ray_home import ray_home
from embermill.jobs.pool.ray_words import without_deaths
from embermill.jobs.pool.reaper import MARK
from embermill.jobs.process.allocators import worker_environment
from embermill.jobs.process.cores import usable_cores

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
OBJECT_STORE_BYTES = 128 << 20  # events only: vectors never cross it
TOKEN = secrets.token_hex(32)  # Ray reads it once in a process, so all private clusters of a process share it
SUBMITTED_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # what `ray job submit` hands to the driver
NO_CLUSTER = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: every process of a private Ray listens on loopback
UNREAD = {"RAY_enable_metrics_collection": "0", "RAY_task_events_report_interval_ms": "0"}  # what Ray tells its dashboard, which a private one has none of
ELSEWHERE = ("RAY_ADDRESS", SUBMITTED_JOB, "RAY_RUNTIME_ENV_HOOK")


class RaySession:
    """Ray, started or joined for one run; leave its `with` block and what it started is gone.

    One that is joined is there at once, a private one once it has been waited for.
    """

    def __init__(self, config: JobConfig, planned_device: str | None = None) -> None:
        self.joined = config.ray.address is not None
        self._config, self._planned_device = config, planned_device
        self._cleanup = contextlib.ExitStack()
        self._private: Beside | None = None  # None also where somebody in this process has connected to Ray before
        self._process: Any = None  # an actor that nobody has taken yet

    def __enter__(self) -> RaySession:
        """Once more where it was begun before, by somebody who has handed it on."""
        if self._private is not None or ray.is_initialized():  # somebody's in this process: it stays as it is
            return self
        self._cleanup.enter_context(_quiet())
        self._cleanup.enter_context(without_deaths(ray._private.worker))
        try:
            if self.joined:
                self._join(str(self._config.ray.address))
            else:
                self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self._cleanup.__exit__(*error)

    def close(self) -> None:
        self._cleanup.close()

    def is_for(self, config: JobConfig, planned_device: str | None) -> bool:
        """Whether it would have been started in the same way for these."""
        ours = self._config
        return (config.workers, config.ray, config.model.engine, planned_device) == (ours.workers, ours.ray, ours.model.engine, self._planned_device)

    def begin(self) -> None:
        """Start a private Ray beside what is done from now on, where that can be given up in a moment; else it is started once it is waited for."""
        if self._private is not None and can_be_lean():
            self._private.begin()

    def then(self, work: Callable[[], None]) -> None:
        """Do that as soon as a private Ray is there, beside what is done from now on."""
        if self._private is not None:
            self._private.then(work)

    def start_process(self) -> None:
        """The process of a worker, which imports what any of them needs until it is known what it is to do. For the thread that has started a private Ray."""
        placement = self.placement()
        if not is_lean():  # each worker is then given an environment, which takes another process
            return
        for node, share in self.room(placement.device).items():
            resources = dict(self._config.workers.resources)
            self._process = start_actor("first", f"embermill-{uuid.uuid4().hex}", node, share, gpus=placement.gpus, resources=resources)
            self._process.prepare.remote(PACKAGE_FOLDER, worker_environment(placement.device, share.threads), self._config.model.engine, placement.device)
            break

    def take_process(self) -> Any:
        """The actor of that process, once; None where there is none."""
        process, self._process = self._process, None
        return process

    def wait(self) -> tuple[float, float] | None:
        """Until Ray is there: when its start was begun and done, by time.monotonic(), of one that is private. Raises what went wrong in starting it."""
        if self._private is None:
            return None
        self._private.wait()
        return self._private.seconds

    def placement(self) -> Placement:
        """What `workers` means here; of a private Ray, what it will mean."""
        if self._private is not None:
            return private_placement(self._config.workers, self._planned_device)
        return place(self._config.workers, _nodes(shared=self.joined), joined=self.joined, planned_device=self._planned_device, gpu_library=gpu_library_here())

    def room(self, device: str) -> dict[str, Share]:
        """What workers get on each node that is there now, by its id; of nodes that have room for none nothing is said."""
        shares = {node.id: share_of(self._config.workers, node, device) for node in _nodes(shared=self.joined)}
        return {node: share for node, share in shares.items() if share.workers}

    def _start(self) -> None:
        if "RAY_ADDRESS" in os.environ:
            ignored = os.environ["RAY_ADDRESS"]
            log.warning("RAY_ADDRESS=%s is ignored: ray.address is null, so this job starts a Ray of its own; ray.address: auto would join", ignored)
        self._cleanup.enter_context(_environment({name: None for name in ELSEWHERE}))
        if os.environ.get("RAY_AUTH_MODE", "token") == "token" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
            # Ray asks for a token and would write one to the home folder, for every cluster of this user; this one is of this process.
            token = os.environ.get("RAY_AUTH_TOKEN", TOKEN)
            self._cleanup.enter_context(_environment({"RAY_AUTH_TOKEN": token, "RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE")}))
        home = self._cleanup.enter_context(ray_home())
        self._cleanup.enter_context(_environment({MARK: str(home), NO_CLUSTER: "0"}))
        self._cleanup.enter_context(_environment({name: os.environ.get(name, value) for name, value in UNREAD.items()}))
        self._cleanup.enter_context(_on_loopback())
        empty = home / "empty"
        empty.mkdir()
        lean_for = private_placement(self._config.workers, self._planned_device) if can_be_lean() else None  # imports, as little as can be done beside
        self._private = self._cleanup.enter_context(Beside(partial(self._held, home, empty, lean_for)))

    @contextlib.contextmanager
    def _held(self, home: Path, empty: Path, placement: Placement | None, step: Callable[[], None]) -> Iterator[None]:
        """A private Ray. home: its folder. empty: the workers' first. placement: of the workers that it is started for alone; None for a Ray as it is."""
        options: dict[str, Any] = {"runtime_env": {"working_dir": str(empty)}}  # else the current folder is put before ours on the workers' path
        with contextlib.ExitStack() as held:
            held.callback(ray.shutdown)
            with _slow_start(), contextlib.ExitStack() as starting:
                if placement is not None:
                    environment = worker_environment(placement.device, placement.cpus)
                    starting.enter_context(lean(environment, empty, step, logs=log.isEnabledFor(logging.DEBUG)))
                    options = {"job_config": job_config()}
                    held.enter_context(marked_lean())
                ray.init(
                    address="local",
                    _temp_dir=str(home / "r"),  # Ray lets everybody write to it: `home` lets nobody in
                    num_cpus=cpus_to_give(self._config.workers),
                    object_store_memory=OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    log_to_driver=log.isEnabledFor(logging.DEBUG),
                    logging_level=logging.ERROR,
                    configure_logging=False,
                    **options,
                )
            yield

    def _join(self, address: str) -> None:
        require_listener(os.environ.get("RAY_ADDRESS", address) if address == "auto" else address)
        runtime_env = {}
        if not submitted_with_working_dir(os.environ):
            runtime_env["working_dir"] = self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="embermill-"))
        self._cleanup.callback(ray.shutdown)
        try:
            ray.init(
                address=address,
                log_to_driver=log.isEnabledFor(logging.DEBUG),
                logging_level=logging.ERROR,
                configure_logging=False,
                runtime_env=runtime_env,
            )
        except ConnectionError as error:
            advice = "start one (ray start --head), or leave ray.address out"
            raise UsageError(f"ray.address: {address}: there is no Ray to join: {_first_line(error).rstrip('.')}: {advice}") from error
        except ValueError as error:  # `auto` may come from the environment, as whatever is there
            named = f" (RAY_ADDRESS={os.environ['RAY_ADDRESS']})" if address == "auto" and "RAY_ADDRESS" in os.environ else ""
            raise UsageError(f"ray.address: {address}{named}: Ray does not take it: {_first_line(error)}; expected HOST:PORT of its head") from error
        except ray.exceptions.RaySystemError as error:
            raise Interrupted(f"ray.address: {address}: the cluster did not answer: {_first_line(error)}") from error


@contextlib.contextmanager
def _slow_start() -> Iterator[None]:
    """Ray raises a plain Exception where its processes do not come up in time, as on a machine that is overloaded: that passes. Interrupted."""
    try:
        yield
    except Exception as error:
        if "timed out during startup" not in str(error):
            raise
        raise Interrupted(f"the Ray that this job starts on this machine did not come up in time: {_first_line(error)}") from error


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """A private Ray listens on 127.0.0.1 alone, as on macOS, where a cluster is not meant to be: what the environment says was read when Ray was imported."""
    from ray._private import ray_constants

    constants: Any = ray_constants
    before = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def private_placement(workers: WorkersConfig, planned_device: str | None = None) -> Placement:
    """What `workers` will mean on a private Ray of this machine, before it is started. UsageError for what this machine does not have."""
    gpus = 0 if workers.device == "cpu" else count_gpus()
    return place(workers, [Node(cpus_to_give(workers), gpus)], joined=False, planned_device=planned_device, gpu_library=gpu_library_here())


def cpus_to_give(workers: WorkersConfig) -> int:
    """CPUs that a private Ray may give out: a person who asks for more workers than cores gets them."""
    wanted = (1 if workers.count == "auto" else workers.count) * (1 if workers.cpus == "auto" else workers.cpus)
    return max(usable_cores(), wanted)


def count_gpus() -> int:
    """GPUs that a Ray started here would find, as it counts them itself: those of the driver, less what this process may not see."""
    try:
        from ray._private.accelerators import get_accelerator_manager_for_resource as manager_of
    except ImportError:  # no public face of Ray's tells before it is started, and a later one may keep this one elsewhere
        return _count_cupy_devices()
    counted: Any = manager_of  # it has no annotations
    manager = counted("GPU")
    try:
        there, visible = manager.get_current_node_num_accelerators(), manager.get_current_process_visible_accelerator_ids()
    except RuntimeError as error:  # an AMD GPU that is hidden by the wrong variable
        raise UsageError(f"workers.device: Ray does not count the GPUs of this machine: {_first_line(error)}") from error
    return int(there if visible is None else min(there, len(visible)))


def _count_cupy_devices() -> int:
    if not gpu_library_here():
        return 0
    import cupy

    try:
        return int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError:  # no driver, or no GPU
        return 0


def gpu_library_here() -> bool:
    return find_spec("cupy") is not None


def _nodes(*, shared: bool) -> list[Node]:
    """Those that are there. shared: others may use them, too."""
    listed: Any = ray.nodes  # it has no annotations
    available = _available_by_node() if shared else {}
    return [_node(node, available.get(node["NodeID"])) for node in listed() if node["Alive"]]


def _node(node: Mapping[str, Any], available: Mapping[str, float] | None) -> Node:
    has = node["Resources"]
    return Node(has.get("CPU", 0), has.get("GPU", 0), str(node["NodeID"]), has, node.get("Labels") or {}, available)


def _available_by_node() -> Mapping[str, Mapping[str, float]]:
    """What nobody has taken; nothing where a later Ray keeps it elsewhere: its public face tells of the cluster as a whole alone."""
    import ray._private.state as state

    found: Any = getattr(state, "available_resources_per_node", dict)
    answer: Mapping[str, Mapping[str, float]] = found()
    return answer


def require_listener(address: str) -> None:
    """Somebody listens at HOST:PORT; Ray itself would ask for minutes. Other forms of an address are left to Ray."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        advice = "start a Ray there (ray start --head --port), name another address, or leave ray.address out"
        raise UsageError(f"ray.address: {address}: nothing is listening there ({error.strerror or error}): {advice}") from error


def submitted_with_working_dir(environment: Mapping[str, str]) -> bool:
    """A submitted job may have a working_dir already; Ray refuses a second one."""
    try:
        job = json.loads(environment.get(SUBMITTED_JOB, "{}"))
    except ValueError:
        return False
    return bool((job.get("runtime_env") or {}).get("working_dir"))


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def _environment(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set (or, where None, unset) variables, and put them back."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's own advice on stderr is for people who use Ray; errors stay."""
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(logging.ERROR)
    with _environment({"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}):
        try:
            yield
        finally:
            logger.setLevel(before)
