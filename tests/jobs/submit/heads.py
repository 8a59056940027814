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

START_S, ENDING_S = 180, 10
PRIVATE = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "PYTHONPATH")


@dataclass(frozen=True)
class Head:
    """address: of its dashboard. token: without it nobody is let in. metrics: where Prometheus would scrape it. folder: of its files and its processes."""

    address: str
    token: str
    metrics: str = ""
    folder: str = ""

    def ask(self, path: str) -> Any:
        """What its job server answers."""
        request = urllib.request.Request(self.address + path, headers={"Authorization": f"Bearer {self.token}"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def start_head(python: Path, *, cpus: int = 2, autoscaled: dict[str, float] | None = None, most: int = 0) -> Iterator[Head]:
    """python: of the environment that Ray, and perhaps embermill, is installed in; it is not on the head's PATH.

    autoscaled: resources of the nodes that an autoscaler adds on demand, up to `most`, and takes away when they have been idle for some seconds.
    """
    dashboard, gcs, client, agent, metrics, scaler = free_ports(6)
    token = secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:  # a socket's path is short
        environment = {name: value for name, value in os.environ.items() if name not in PRIVATE} | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        command = [
            str(python), "-m", "ray.scripts.scripts", "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={gcs}",
            f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}", f"--num-cpus={cpus}",
            f"--metrics-export-port={metrics}", "--num-gpus=0", "--object-store-memory=100000000", "--include-dashboard=true",
            "--disable-usage-stats", f"--temp-dir={folder}/r",
        ]  # fmt: skip
        if autoscaled is not None:
            environment |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "AUTOSCALER_METRIC_PORT": str(scaler)}
            Path(f"{folder}/autoscaler.yaml").write_text(json.dumps(_autoscaler(gcs, autoscaled, most)))
            command.append(f"--autoscaling-config={folder}/autoscaler.yaml")
        with Path(f"{folder}/log").open("w") as log:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            head = Head(f"http://127.0.0.1:{dashboard}", token, f"http://127.0.0.1:{metrics}/metrics", folder)
            _await(head, process, Path(f"{folder}/log"))
            yield head
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            _end_what_is_left(folder)


def _autoscaler(gcs: int, resources: dict[str, float], most: int) -> dict[str, Any]:
    """For Ray's autoscaler with the provider that it is tested with: nodes are further raylets on this machine."""
    keys = (
        "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands", "head_start_ray_commands",
        "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter",
    )  # fmt: skip
    nothing: dict[str, Any] = {key: [] for key in keys}
    types = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": resources | {"object_store_memory": 80_000_000}, "node_config": {}, "min_workers": 0, "max_workers": most},
    }
    return nothing | {
        "cluster_name": "fake", "max_workers": most, "idle_timeout_minutes": 0.15, "upscaling_speed": 1.0, "auth": {"ssh_user": "nobody"}, "docker": {},
        "provider": {
            "type": "fake_multinode", "gcs_address": f"127.0.0.1:{gcs}", "use_node_id_as_ip": True,
            "disable_node_updaters": True, "disable_launch_config_check": True,
        },
        "file_mounts": {}, "file_mounts_sync_continuously": False,
        "head_node_type": "ray.head.default", "available_node_types": types,
    }  # fmt: skip


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
    """Processes of this head that outlived it: their command lines name its folder. They write there, so it is removed once none is left."""
    until = time.monotonic() + ENDING_S
    while (left := _named_after(folder)) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _named_after(folder: str) -> list[int]:
    found = list[int]()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"{folder}/r" in file.read_bytes().decode(errors="replace"):
                found.append(int(file.parent.name))
    return found
