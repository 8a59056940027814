"""A real Ray head on loopback, as `ray start --head` makes it, with token authentication, that is gone at the end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 180
PRIVATE = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "PYTHONPATH")


@dataclass(frozen=True)
class Head:
    """address: of its dashboard. token: without it nobody is let in. metrics: where Prometheus would scrape it."""

    address: str
    token: str
    metrics: str = ""

    def ask(self, path: str) -> Any:
        """What its job server answers."""
        request = urllib.request.Request(self.address + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def start_head(python: Path, *, cpus: int = 2) -> Iterator[Head]:
    """python: of the environment that Ray, and perhaps embermill, is installed in; it is not on the head's PATH."""
    dashboard, gcs, client, agent, metrics = free_ports(5)
    token = secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # a socket's path is short
        environment = {name: value for name, value in os.environ.items() if name not in PRIVATE} | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        command = [
            str(python), "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={gcs}",
            f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}", f"--num-cpus={cpus}",
            f"--metrics-export-port={metrics}", "--num-gpus=0", "--object-store-memory=100000000", "--include-dashboard=true",
            "--disable-usage-stats", f"--temp-dir={folder}/r",
        ]  # fmt: skip
        with Path(f"{folder}/log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            head = Head(f"http://127.0.0.1:{dashboard}", token, f"http://127.0.0.1:{metrics}/metrics")
            _await(head, process, Path(f"{folder}/log"))
            yield head
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            _end_what_is_left(folder)


def _await(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the job server answers and a node is there."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"the head ended: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError, urllib.error.URLError, KeyError):
            if any(node["state"] == "ALIVE" for node in head.ask("/api/v0/nodes?detail=1")["data"]["result"]["result"]):
                return
        time.sleep(0.5)
    raise AssertionError(f"the head did not answer within {START_S} s: {log.read_text()[-2000:]}")


def free_ports(count: int) -> list[int]:
    """Below 10000, where Ray's workers take none."""
    found: list[int] = []
    while len(found) < count:
        port = 5000 + secrets.randbelow(4900)
        with contextlib.suppress(OSError), socket.socket() as held:
            held.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def _end_what_is_left(folder: str) -> None:
    """Processes of this head that outlived it: their command lines name its folder."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"{folder}/r" in file.read_bytes().decode(errors="replace"):
                os.kill(int(file.parent.name), signal.SIGKILL)
