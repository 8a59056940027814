"""A cluster's job server, through Ray's Jobs SDK: with embermill.jobs.submit.start, and the pool's three, the only room that imports ray."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from embermill.credentials import has_credentials
from embermill.jobs.errors import AnotherRun, Interrupted, UsageError
from embermill.jobs.pool.placement import Node
from embermill.jobs.submit.endings import Submission
from embermill.jobs.submit.fitness import Found

ADDRESS = "RAY_API_SERVER_ADDRESS"
OVERRIDING = (ADDRESS, "RAY_ADDRESS")  # Ray would take them rather than what it is told
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
NAME, ATTEMPT, OUTPUT = "embermill.name", "embermill.attempt", "embermill.output"  # in a job's metadata
NOT_PACKED = (".env",)


class Cluster:
    """What can be asked of the job server at an address. UsageError where there is none, or where it lets nobody in; Interrupted where it went away."""

    def __init__(self, address: str) -> None:
        self.address = address
        require_client()
        _require_listener(address)
        _use_the_token_there_is()
        from ray.job_submission import JobSubmissionClient

        for module in ("dashboard_sdk", "job.sdk"):  # they tell of each package and each connection
            logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.WARNING)

        class Client(JobSubmissionClient):
            """Ray's own waits for an answer for ever."""

            def _do_request(self, *arguments: Any, **keywords: Any) -> Any:
                return super()._do_request(*arguments, **({"timeout": TIMEOUT_S} | keywords))

        with self._errors(), _without(OVERRIDING):
            self._client: Any = Client(address)

    def found(self) -> Found:
        """What it runs, and the nodes that are there now."""
        with self._errors():
            versions = self._get("/api/version")
            about = (self._get("/api/v0/cluster_metadata").get("data") or {}) if self._has("/api/v0/cluster_metadata") else {}
            listed = self._get("/api/v0/nodes?detail=1&limit=10000")["data"]["result"]["result"]
        alive = [(node["resources_total"] or {}, node.get("labels") or {}) for node in listed if node["state"] == "ALIVE"]
        nodes = tuple(Node(has.get("CPU", 0), has.get("GPU", 0), resources=has, labels=labels) for has, labels in alive)
        return Found(versions["ray_version"], about.get("pythonVersion"), nodes)

    def submissions(self) -> list[Submission]:
        """Every job that embermill submitted, whatever became of it."""
        with self._errors():
            return [_submission(details) for details in self._client.list_jobs() if NAME in (details.metadata or {})]

    def look(self, id: str) -> Submission:
        with self._errors():
            return _submission(self._client.get_job_info(id))

    def submit(self, id: str, entrypoint: str, runtime_env: dict[str, Any], *, name: str, attempt: int, output: str) -> None:
        """The driver takes no CPU and no GPU of the cluster, and runs on the head."""
        metadata = {NAME: name, ATTEMPT: str(attempt), OUTPUT: output}
        with self._errors():
            try:
                self._client.submit_job(entrypoint=entrypoint, runtime_env=runtime_env, metadata=metadata, submission_id=id)
            except RuntimeError as error:
                if "already exists" in str(error):
                    raise AnotherRun(f"{name} was submitted by somebody else at this moment: `embermill logs {name}` follows that job") from error
                raise

    def log(self, id: str) -> str:
        with self._errors():
            return str(self._client.get_job_logs(id))

    async def tail(self, id: str) -> AsyncIterator[str]:
        """The log from its beginning, as it comes, until the job ends. Interrupted, RuntimeError and OSError are the connection's."""
        from aiohttp import ClientError

        try:
            async for chunk in self._client.tail_job_logs(id):
                yield chunk
        except ClientError as error:
            raise Interrupted(f"--address {self.address}: the connection was lost: {_first_line(error)}") from error

    def stop(self, id: str) -> bool:
        """Whether it was running. It is told to end, and killed after the grace period."""
        with self._errors():
            return bool(self._client.stop_job(id))

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._client._do_request("GET", path)
        answer.raise_for_status()
        held: dict[str, Any] = answer.json()
        return held

    def _has(self, path: str) -> bool:
        return bool(self._client._do_request("GET", path).ok)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Ray's and the connection's errors as ours."""
        from ray.exceptions import AuthenticationError
        from requests.exceptions import RequestException

        try:
            yield
        except AuthenticationError as error:
            advice = f"set RAY_AUTH_TOKEN to the cluster's token, or RAY_AUTH_TOKEN_PATH to a file that holds it (`ray get-auth-token` on the head): {error}"
            raise UsageError(f"--address {self.address}: the cluster refuses access: {advice.splitlines()[0]}") from error
        except (ConnectionError, RequestException) as error:
            raise Interrupted(f"--address {self.address}: the cluster does not answer: {_first_line(error)}") from error
        except RuntimeError as error:
            raise UsageError(f"--address {self.address}: the cluster refuses the request: {_first_line(error)}") from error


def pack_folder(folder: Path, archive: Path) -> None:
    """A folder as Ray would send it: without .git, virtual environments and what .gitignore and .rayignore name; and without .env, which holds secrets."""
    from ray._private.ray_constants import get_runtime_env_default_excludes
    from ray._private.runtime_env.packaging import create_package

    create_package(str(folder), archive, include_gitignore=True, excludes=[*get_runtime_env_default_excludes(), *NOT_PACKED])


def require_client() -> None:
    """UsageError where the client's parts of Ray's Jobs API are not installed: plain Ray lacks them."""
    if missing := [name for name in ("aiohttp", "requests") if find_spec(name) is None]:
        raise UsageError(f"{' and '.join(missing)} not installed here: pip install 'embermill[submit]' brings what a submitting machine needs")


def resolve_address(given: str | None) -> str:
    """--address, or what RAY_API_SERVER_ADDRESS says. UsageError where neither is the address of a job server."""
    address = given or os.environ.get(ADDRESS)
    if not address:
        raise UsageError(f"--address is missing: expected the head's dashboard, for example http://HEAD:8265 (or set {ADDRESS})")
    address = address if "://" in address or address == "auto" else f"http://{address}"
    if has_credentials(address):
        raise UsageError("--address: credentials do not belong in a URL: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH")
    try:
        parts = urlsplit(address)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"--address {address}: expected the head's dashboard, for example http://HEAD:8265 (its port 8265, not 6379 or 10001)")
    return address.rstrip("/")


def _require_listener(address: str) -> None:
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((str(parts.hostname), port), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        advice = "is the head running, with the dashboard (embermill[cluster]), and is its port reachable from here?"
        raise UsageError(f"--address {address}: nothing is listening there ({error.strerror or error}): {advice}") from error


def _use_the_token_there_is() -> None:
    """As `ray start` does: a token that is there is used, unless RAY_AUTH_MODE says otherwise."""
    if "RAY_AUTH_MODE" not in os.environ and (any(map(os.environ.get, TOKENS)) or (Path.home() / ".ray/auth_token").is_file()):
        os.environ["RAY_AUTH_MODE"] = "token"


@contextlib.contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def _submission(details: Any) -> Submission:
    metadata = details.metadata or {}
    attempt = metadata.get(ATTEMPT, "")
    return Submission(
        name=metadata.get(NAME, details.submission_id), attempt=int(attempt) if attempt.isdecimal() else 0, id=details.submission_id,
        status=str(getattr(details.status, "value", details.status)), exit_code=details.driver_exit_code, message=details.message or "",
        error_type=str(getattr(details.error_type, "value", details.error_type) or ""), submitted_s=_seconds(details.start_time),
        ended_s=_seconds(details.end_time), output=metadata.get(OUTPUT, ""),
    )  # fmt: skip


def _seconds(milliseconds: int | None) -> float | None:
    return None if not milliseconds else milliseconds / 1000


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
