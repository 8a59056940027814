"""Whether the process that left a heartbeat or a lease runs or is gone: told for certain on its own machine alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path


def this_process() -> dict[str, object]:
    """Host, process id, and what tells a machine's boots and a container's process ids apart ("" where the system does not say)."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "scope": _scope(), "started": _started(os.getpid())}


def is_gone(process: Mapping[str, object]) -> bool:
    """True where that process ran here and does so no more; False where it runs, or where it cannot be told from here."""
    pid, started = process.get("pid"), process.get("started")
    return _is_here(process) and isinstance(pid, int) and bool(started) and _started(pid) != started


def is_running(process: Mapping[str, object]) -> bool:
    """True where that process runs here; False where it does not, or where it cannot be told from here."""
    pid, started = process.get("pid"), process.get("started")
    return _is_here(process) and isinstance(pid, int) and bool(started) and _started(pid) == started


def _is_here(process: Mapping[str, object]) -> bool:
    """Whether its process id means something on this machine, in this boot and container."""
    scope = _scope()
    return bool(scope) and process.get("host") == socket.gethostname() and process.get("scope") == scope


def _scope() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When it started, in clock ticks since the boot: a process id may be used again. "" where there is none, or it is dead and only not yet waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
