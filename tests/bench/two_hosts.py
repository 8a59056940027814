"""The host of a job is lost, or stops for a while, and the job is started on another: the second waits for the lease to end, takes over, and finishes.

    python -m tests.bench.two_hosts [--lease-s 60] [--ray]

A host is a UTS namespace with a name of its own (unshare; root or user namespaces), so that neither run can tell whether the other's process lives.
Prints a JSON line for each; exit 1 where it took longer than the lease and ten seconds, or where something is not as an undisturbed run leaves it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from embermill.jobs.config import load_config
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import open_inline_pool

ROOT = Path(__file__).parent.parent.parent
MARGIN_S = 10.0
PATIENCE_S = 120.0
ROWS = 400


def own_host() -> list[str] | None:
    """A command before another that gives it a host's name of its own; None where that is not to be had."""
    for command in (["unshare", "--uts"], ["unshare", "--map-root-user", "--uts"]):
        if shutil.which("unshare") and subprocess.run([*command, "hostname", "somewhere"], capture_output=True).returncode == 0:
            return command
    return None


class Hosts:
    """Runs of one job on hosts of their own. right: the dataset of an undisturbed run."""

    def __init__(self, folder: Path, lease_s: float, *, ray: bool = False) -> None:
        self._folder, self._lease_s, self._ray = folder, lease_s, ray
        lines = [json.dumps({"id": f"r{row}", "text": f"document {row}"}) for row in range(ROWS)]
        (folder / "corpus.jsonl").write_text("\n".join(lines))
        with mock.patch("embermill.jobs.run.open_pool", open_inline_pool):
            self.right = run(load_config(self._job("right"))).output

    def start(self, host: str, name: str) -> subprocess.Popen[str]:
        before = own_host()
        assert before is not None
        command = f"{sys.executable} -m " + (f"embermill run {self._job(name)} --json" if self._ray else f"tests.jobs.storage_trouble {self._job(name)}")
        script = f"hostname {host}; exec {command}"
        return subprocess.Popen([*before, "sh", "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def round(self, how: signal.Signals) -> dict[str, Any]:
        """how: SIGKILL, the host is lost; SIGSTOP, it wakes once another has finished the job."""
        name = how.name.lower()
        holder = self.start("host-a", name)
        self._await(f"{name}/_embermill/commits/*", holder)
        holder.send_signal(how)
        if how == signal.SIGKILL:
            holder.communicate()
        begin_s = time.monotonic()
        other = self.start("host-b", name)
        self._await(f"{name}/_embermill/lease/000000002.json", other)
        found: dict[str, Any] = {"host_a": how.name, "lease_s": self._lease_s, "taken_over_after_s": round(time.monotonic() - begin_s, 1)}
        out, errors = other.communicate(timeout=PATIENCE_S)
        if how == signal.SIGSTOP:
            holder.send_signal(signal.SIGCONT)
            found["host_a_exit"] = (holder.communicate(timeout=PATIENCE_S), holder.returncode)[1]
        output = open_folder(str(self._folder / name))
        found |= {"exit": other.returncode, "waiting_was_shown": "which holds this dataset and is silent" in errors and "host-a" in errors}
        found |= {"committed_before": json.loads(out).get("committed_before"), "differences": differences(open_folder(self.right), output)}
        return found | {"verified": verify(output).to_json()["ok"]}

    def is_right(self, found: dict[str, Any]) -> bool:
        in_time = self._lease_s <= found["taken_over_after_s"] <= self._lease_s + MARGIN_S
        ended = found["exit"] == 0 and found.get("host_a_exit", 4) == 4 and found["committed_before"] > 0 and found["waiting_was_shown"]
        return bool(in_time and ended and found["verified"] and not found["differences"])

    def _await(self, pattern: str, running: subprocess.Popen[str]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not list(self._folder.glob(pattern)):
            if running.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(f"{pattern} did not come: {running.communicate()[1]}")
            time.sleep(0.05)

    def _job(self, name: str) -> Path:
        settings: dict[str, dict[str, Any]] = {
            "model": {"engine": "python:tests.jobs.engines:SlowEngine"},
            "corpus": {"files": [str(self._folder / "corpus.jsonl")], "partition_text_bytes": 600},
            "output": {"uri": str(self._folder / name), "lease_s": self._lease_s},
            "workers": {"count": 1},
        }
        path = self._folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lease-s", type=float, default=60)
    parser.add_argument("--ray", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        hosts = Hosts(Path(place), args.lease_s, ray=args.ray)
        rounds = [hosts.round(how) for how in (signal.SIGKILL, signal.SIGSTOP)]
        for found in rounds:
            print(json.dumps(found), flush=True)
        return 0 if all(map(hosts.is_right, rounds)) else 1


if __name__ == "__main__":
    sys.exit(main())
