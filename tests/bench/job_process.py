"""Runs `embermill` as a user would, in a process of its own, and watches its memory from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, the JSON object of its stdout (None where there is none), stderr, seconds, peak RSS by role in bytes."""

    code: int
    answer: dict[str, Any] | None
    stderr: str
    seconds: float
    peak_rss: dict[str, int]


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "embermill", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def role(process: psutil.Process, driver: int) -> str | None:
    """"driver", "worker" (a Ray actor of ours), or None for Ray's own processes."""
    if process.pid == driver:
        return "driver"
    return "worker" if "ray::" in " ".join(process.cmdline()) and "IDLE" not in " ".join(process.cmdline()) else None


def watch(driver: int, peaks: dict[str, int], stop: threading.Event, interval_s: float = 0.2) -> None:
    """Keeps the largest RSS that each role ever had (the kernel's own high-water mark, so no peak between two looks is missed)."""
    while not stop.wait(interval_s):
        try:
            for process in [psutil.Process(driver), *psutil.Process(driver).children(recursive=True)]:
                name = role(process, driver)
                if name:
                    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                    mark = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
                    peaks[name] = max(peaks.get(name, 0), mark)
        except (psutil.Error, OSError, StopIteration):
            continue


def write_config(path: Path, settings: dict[str, dict[str, object]]) -> Path:
    """A configuration file of those sections; its path."""
    path.write_text(yaml.safe_dump(settings))
    return path


def run_job(config: Path) -> Outcome:
    """`embermill run CONFIG`; ends the measurement with the command's own words if it failed."""
    outcome = run("run", str(config))
    if outcome.code or outcome.answer is None:
        raise SystemExit(f"embermill run: exit {outcome.code}\n{outcome.stderr}")
    return outcome


def run(*arguments: str, **options: Any) -> Outcome:
    """`embermill ARGUMENTS --json`, to its end."""
    begin = time.perf_counter()
    process = start(*arguments, "--json", **options)
    peaks: dict[str, int] = {}
    stop = threading.Event()
    watcher = threading.Thread(target=watch, args=(process.pid, peaks, stop), daemon=True)
    watcher.start()
    out, err = process.communicate()
    stop.set()
    watcher.join()
    return Outcome(process.returncode, json.loads(out) if out.strip() else None, err, time.perf_counter() - begin, peaks)
