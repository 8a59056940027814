"""A private Ray started with what a job needs of it: the control store and a raylet; workers' processes when they are asked for. With ray_session and ray_pool
the only room that imports ray.

By itself `ray.init` also starts the dashboard's head and waits for it; a raylet that waits for two agents, in Python, before it registers, then starts a
process for every core; an autoscaler's monitor; a monitor of logs. Here nobody looks at a dashboard, no worker wants an environment of its own (they all
inherit the raylet's) and what is ours to tell comes with the events. What each costs: infra/decisions/0005.
This goes through names that Ray keeps to itself, so it is done for the versions that it was tried with; any other starts as it does by itself.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig

from embermill.jobs.pool import agent_stand_in

TRIED = ("2.60.",)
LOOK_EVERY_S, GIVE_UP_AFTER_S = 0.02, 20.0  # for the raylet, before Ray itself looks
NO_PORT = "-1"  # what Ray's own agents answer where there is nothing to connect to


class _WithoutFolders(JobConfig):  # type: ignore[misc, unused-ignore]
    """A job of which neither the script's folder nor the current one is put before ours on the workers' path."""

    def _runtime_env_has_working_dir(self) -> bool:
        return True


class _Started:
    """What is started in this process now: Ray is one for each, whoever asks."""

    lean = False


def can_be_lean() -> bool:
    return ray.__version__.startswith(TRIED)


def is_lean() -> bool:
    """Whether the Ray of this process has been started so: workers have their environment by then and could not be given another."""
    return _Started.lean


@contextlib.contextmanager
def marked_lean() -> Iterator[None]:
    _Started.lean = True
    try:
        yield
    finally:
        _Started.lean = False


def job_config() -> Any:
    return _WithoutFolders()


@contextlib.contextmanager
def lean(environment: Mapping[str, str], folder: Path, step: Callable[[], None], *, logs: bool) -> Iterator[None]:
    """While `ray.init` starts a private Ray. environment: of every worker, beside this process's. folder: where they begin.

    No process is started before it is asked for: the driver would be let in only once they are there, and holds the interpreter while it waits for that.
    step: called before each process that is started, and while one is waited for; what it raises ends the start. logs: what workers print is wanted here.
    """
    import ray._private.node as node
    import ray._private.parameter as parameter
    import ray._private.services as services
    import ray._private.utils as utils

    start = services.start_ray_process
    get_node: Any = services.get_node  # it has no annotations
    stand_in = subprocess.list2cmdline([sys.executable, "-S", "-I", agent_stand_in.__file__])
    own = {
        "num_prestart_python_workers": "0",
        "dashboard_agent_command": stand_in,
        "runtime_env_agent_command": stand_in,
        **dict.fromkeys(("metrics-agent-port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port"), NO_PORT),
    }

    def started(command: list[str], process_type: str, *arguments: Any, **named: Any) -> Any:
        step()
        if process_type == "raylet":
            command = [argument for argument in command if _name(argument) not in own] + [f"--{name}={value}" for name, value in own.items()]
            named["cwd"] = str(folder)
        return start(command, process_type, *arguments, **named)

    def found(address: str, node_id: str) -> Any:
        """It looks once a second by itself."""
        state = _connected(address)
        end_s = time.monotonic() + GIVE_UP_AFTER_S
        while time.monotonic() < end_s and not any(each["NodeID"] == node_id for each in state.node_table()):
            step()
            time.sleep(LOOK_EVERY_S)
        return get_node(address, node_id)

    parameters = functools.partial(parameter.RayParams, no_monitor=True, include_log_monitor=logs, env_vars=dict(environment))  # type: ignore[arg-type]
    with contextlib.ExitStack() as replaced:
        replaced.enter_context(_replaced(services, "start_ray_process", started))
        replaced.enter_context(_replaced(services, "get_node", found))
        replaced.enter_context(_replaced(parameter, "RayParams", parameters))
        replaced.enter_context(_replaced(node.Node, "start_api_server", lambda self, **_: None))
        replaced.enter_context(_replaced(utils, "get_dashboard_dependency_error", lambda: ImportError("no dashboard is wanted")))
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    real = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, real)


def _connected(address: str) -> Any:
    """What Ray's control store at that address knows."""
    import ray._private.services as services
    import ray._private.state as state

    connect: Any = state.GlobalState  # neither has annotations
    options: Any = services._get_gcs_client_options
    known = connect()
    known._initialize_global_state(options(address))
    return known


def _name(argument: str) -> str:
    return argument.removeprefix("--").partition("=")[0]
