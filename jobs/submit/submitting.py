"""submit, list, follow, stop: the whole story of a job on somebody's cluster."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embermill.jobs.config import JobConfig, read_config
from embermill.jobs.driver.display import Display
from embermill.jobs.errors import AnotherRun, Interrupted, UsageError
from embermill.jobs.submit import package
from embermill.jobs.submit.cluster import Cluster, pack_folder
from embermill.jobs.submit.endings import Submission, require_success
from embermill.jobs.submit.fitness import require_fit
from embermill.jobs.submit.following import Reading, follow
from embermill.jobs.submit.names import attempts_of, find_submission, job_name, next_attempt
from embermill.jobs.submit.refusals import require_folder, require_portable

log = logging.getLogger(__name__)
STOPPED_WITHIN_S = package.GRACE_S + 30


class _Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, while a job is followed: not a person who has seen enough."""


def submit(
    path: str, overrides: Sequence[str], address: str, *, name: str | None, working_dir: str | None, followed: bool, display: Display
) -> dict[str, Any]:
    """Send the job, once it is sure that the cluster can take it; then follow it, or return as soon as its driver starts.

    Raises UsageError where it is refused, AnotherRun where a job of that name runs, and JobEnded with the driver's exit code.
    """
    config, code = read_config(path, tuple(overrides)), None if working_dir is None else require_folder(Path(working_dir))
    require_portable(config, Path.cwd(), code)
    called = job_name(name, config.output.uri)
    display.phase(f"looking at the cluster at {address}")
    cluster = Cluster(address)
    found = cluster.found()
    require_fit(found, config.workers)
    id = _send(cluster, config, called, code, one_node=len(found.nodes) == 1)
    log.info("%s was submitted as %s; `embermill logs %s --address %s` follows it from anywhere", called, id, called, address)
    return _watch(cluster, id, display, followed=followed)


def _send(cluster: Cluster, config: JobConfig, name: str, code: Path | None, *, one_node: bool) -> str:
    submissions = cluster.submissions()
    if running := [job for job in attempts_of(name, submissions) if isinstance(job, Submission) and job.is_running]:
        raise AnotherRun(f"{name} is running ({running[-1].id}): `embermill logs {name}` follows it, `embermill stop {name}` stops it")
    attempt, id = next_attempt(name, submissions)
    with tempfile.TemporaryDirectory(prefix="embermill-") as folder:
        archive = Path(folder) / "embermill-job.zip"
        if code is not None:
            pack_folder(code, archive)
        package.complete_archive(archive, config)
        start, environment = package.entrypoint(one_node=one_node), package.runtime_env(archive)
        cluster.submit(id, start, environment, name=name, attempt=attempt, output=config.output.uri)
    return id


def list_jobs(address: str) -> dict[str, Any]:
    """Every job of embermill on the cluster, the newest last."""
    jobs = sorted(Cluster(address).submissions(), key=lambda job: job.submitted_s or 0.0)
    return {"address": address, "jobs": [_told(job) for job in jobs]}


def logs(wanted: str, address: str, *, followed: bool, display: Display) -> dict[str, Any]:
    """Come back to a job: its log from the beginning, and with `followed` what is still to come. Raises JobEnded as `submit` does."""
    cluster = Cluster(address)
    id = find_submission(wanted, cluster.submissions()).id
    if followed:
        return _watch(cluster, id, display, followed=True)
    text, job = cluster.log(id), cluster.look(id)
    return _told(job) | {"address": address, "log": text}


def stop(wanted: str, address: str) -> dict[str, Any]:
    """End a job in order; it returns once the job has ended. What is committed stays."""
    cluster = Cluster(address)
    job = cluster.look(find_submission(wanted, cluster.submissions()).id)
    was_running = job.is_running
    if was_running:
        cluster.stop(job.id)
    deadline_s = time.monotonic() + STOPPED_WITHIN_S
    while (job := cluster.look(job.id)).is_running:
        if time.monotonic() > deadline_s:
            raise Interrupted(f"{job.name} ({job.id}) has been told to stop and is still running after {STOPPED_WITHIN_S} s: look at it in Ray's dashboard")
        time.sleep(0.5)
    return _told(job) | {"address": address, "was_running": was_running}


def _watch(cluster: Cluster, id: str, display: Display, *, followed: bool) -> dict[str, Any]:
    """followed: to the end; else until the start script has looked at the cluster."""
    reading = Reading(display, _say)
    came_back = False
    try:
        with display, _terminated():
            display.phase(f"waiting for the cluster to start {id}")
            job = follow(cluster, id, reading, enough=lambda: not followed and reading.started is not None)
    except _Terminated:
        raise Interrupted(f"interrupted while following {id}, which keeps running: `embermill logs {id} --address {cluster.address}`") from None
    except KeyboardInterrupt:
        job, came_back = cluster.look(id), True
    if reading.started is not None and "refused" in reading.started:
        raise UsageError(f"--address {cluster.address}: {reading.started['refused']}; nothing was started")
    require_success(job, _last_words(reading))
    return _told(job) | {"address": cluster.address, "detached": came_back, "summary": reading.answer if job.code == 0 else None}


def _last_words(reading: Reading) -> str:
    error = (reading.answer or {}).get("error")
    return str(error.get("message", "")) if isinstance(error, dict) else ""


def _told(job: Submission) -> dict[str, Any]:
    return {key: value for key, value in asdict(job).items() if key != "message"} | {"exit_code": job.code}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """SIGTERM and SIGHUP raise _Terminated; a signal that is ignored stays ignored."""

    def handle(number: int, frame: object) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
