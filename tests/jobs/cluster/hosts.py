"""Hosts on this machine: network namespaces on a switch of their own, each with its processes, its name, and a disk for Ray; the rest of the disk is shared.

Needs root and `ip` and `unshare`; nothing of this machine's own network is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

SUBNET = "10.99.0."
RAY_FOLDER = "/tmp/embermill-hosts"  # on each host a disk of its own; Ray's sockets want a short path


def missing() -> str | None:
    """Why no hosts can be made here, or None."""
    if lacking := [name for name in ("ip", "unshare", "mount") if shutil.which(name) is None]:
        return f"{' and '.join(lacking)} not installed"
    name = f"em-{secrets.token_hex(3)}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        return "no network namespaces: needs root"
    subprocess.run(["ip", "netns", "del", name], check=True)
    done = subprocess.run(["unshare", "--uts", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True)
    return None if done.returncode == 0 else "no namespaces of mounts and processes: needs root"


class Host:
    """One host. Its address stays the same when it is restarted."""

    def __init__(self, network: Network, name: str, number: int) -> None:
        self.name, self.address = name, f"{SUBNET}{number}"
        self._network, self._space = network, f"{network.name}-{number}"
        self._port = f"p{number}"
        self._booted: subprocess.Popen[bytes] | None = None
        ip("netns", "add", self._space)
        ip("-n", network.name, "link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self._space)
        ip("-n", network.name, "link", "set", self._port, "master", "switch", "up")
        ip("-n", self._space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self._space, "link", "set", device, "up")

    def boot(self, script: str, log: Path, environment: Mapping[str, str]) -> None:
        """Run a shell script as the host's first process: it and all that it starts end together."""
        before = f"hostname {self.name}; mkdir -p {RAY_FOLDER}; mount -t tmpfs -o size=400m tmpfs {RAY_FOLDER}; "
        command = ["ip", "netns", "exec", self._space, "unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with log.open("ab") as file:
            self._booted = subprocess.Popen([*command, "bash", "-c", before + script], env=environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL)

    def command(self, *arguments: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """A command beside what was booted, in its network alone."""
        before = ["ip", "netns", "exec", self._space]
        return subprocess.Popen([*before, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """The same, to its end."""
        with self.command(*arguments, environment=environment) as process:
            out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def kill(self) -> None:
        """As when its power fails."""
        if self._booted is not None:
            self._booted.send_signal(signal.SIGKILL)
            self._booted.wait()
            self._booted = None

    def cut(self) -> None:
        """Its cable is pulled: what is sent to it, and what it sends, is lost in silence."""
        ip("-n", self._network.name, "link", "set", self._port, "nomaster")

    def mend(self) -> None:
        ip("-n", self._network.name, "link", "set", self._port, "master", "switch")

    def remove(self) -> None:
        self.kill()
        subprocess.run(["ip", "netns", "del", self._space], capture_output=True)


class Network:
    """A switch, and the hosts on it."""

    def __init__(self) -> None:
        self.name = f"em{secrets.token_hex(2)}"
        self.hosts: dict[str, Host] = {}
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "add", "switch", "type", "bridge")
        ip("-n", self.name, "link", "set", "switch", "up")

    def host(self, name: str) -> Host:
        if name not in self.hosts:
            self.hosts[name] = Host(self, name, len(self.hosts) + 1)
        return self.hosts[name]

    def remove(self) -> None:
        for host in self.hosts.values():
            host.remove()
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)


@contextlib.contextmanager
def network() -> Iterator[Network]:
    made = Network()
    try:
        yield made
    finally:
        made.remove()


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class RayHosts:
    """A Ray cluster over hosts of a network: `head` without CPUs or GPUs, workers as they are added. folder: for logs, on the shared disk."""

    PORT, DASHBOARD, METRICS = 6379, 8265, 8090

    def __init__(self, made: Network, folder: Path, python: Path = Path(sys.executable)) -> None:
        self.network, self._folder, self._python = made, folder, python
        self.head = made.host("head")
        self.token = secrets.token_hex(32)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def address(self) -> str:
        return f"http://{self.head.address}:{self.DASHBOARD}"

    @property
    def environment(self) -> dict[str, str]:
        private = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN_PATH", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if name not in private}
        return kept | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}

    def start_head(self) -> None:
        dashboard = f"--dashboard-host={self.head.address} --dashboard-port={self.DASHBOARD}"
        told = f"--head --port={self.PORT} {dashboard} --num-cpus=0 --num-gpus=0 --ray-client-server-port=10001"
        self._boot_ray(self.head, f"{told} --temp-dir={RAY_FOLDER}/r", "")

    def start(self, name: str, *, cpus: float = 1, gpus: float = 0, before: str = "", more: str = "") -> Host:
        """A worker's host that starts Ray again whenever it has ended, as a pod or a service does. before: shell, run once, for example a mount."""
        host = self.network.host(name)
        told = f"--address={self.head.address}:{self.PORT} --num-cpus={cpus:g} --num-gpus={gpus:g} {more}"
        self._boot_ray(host, told, before)
        return host

    def _boot_ray(self, host: Host, told: str, before: str) -> None:
        """Ray gives up where the machine is too busy to start it within 30 s: what it leaves is ended, and it is started again."""
        script = f"{before}{'; ' if before else ''}while :; do {self._start(host, told)}; kill -9 -1; sleep 1; done"
        host.boot(script, self._folder / f"{host.name}.log", self.environment)

    def _start(self, host: Host, told: str) -> str:
        return (
            f"{self._python} -m ray.scripts.scripts start --block --node-ip-address={host.address} {told} --object-store-memory=80000000 "
            f"--metrics-export-port={self.METRICS} --disable-usage-stats --include-log-monitor=false"
        )

    def await_dashboard(self, timeout_s: float = 120) -> None:
        """Until a job server listens."""
        until_s = time.monotonic() + timeout_s
        ask = f"import socket; socket.create_connection(('{self.head.address}', {self.DASHBOARD}), 2)"
        outside = self.network.host("outside")
        while outside.run(sys.executable, "-Sc", ask, environment=self.environment).returncode != 0:
            assert time.monotonic() < until_s, f"the head did not come up: {(self._folder / 'head.log').read_text()[-2000:]}"
            time.sleep(1)

    def alive(self) -> set[str]:
        """Addresses of the nodes that the head takes for alive; none while it does not answer."""
        answer = self.get("/api/v0/nodes?detail=1")
        return {node["node_ip"] for node in json.loads(answer)["data"]["result"]["result"] if node["state"] == "ALIVE"} if answer.strip() else set()

    def get(self, path: str, port: int = DASHBOARD) -> str:
        """What the head answers to somebody outside of the cluster; nothing while it does not."""
        url = f"http://{self.head.address}:{port}{path}"
        ask = f"import urllib.request as u; print(u.urlopen(u.Request('{url}', headers={{'Authorization': 'Bearer {self.token}'}}), timeout=9).read().decode())"
        return self.network.host("outside").run(sys.executable, "-Sc", ask, environment=self.environment).stdout

    def embermill(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """A command of ours on a host outside of the cluster."""
        environment = self.environment | {"RAY_API_SERVER_ADDRESS": self.address}
        return self.network.host("outside").command(str(self._python), "-m", "embermill", *map(str, arguments), "--json", environment=environment)
