"""The processor of this machine, as a device."""

from __future__ import annotations

import os
from pathlib import Path

from embermill.encoder.device import Device, usable_threads


def find_processor() -> Device:
    """Its name, vendor and architecture as the system gives them, the cores that this process may use, and the machine's memory."""
    fields = _first_processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    name = fields.get("model name") or _processor() or "CPU"
    return Device("cpu", fields.get("vendor_id", ""), name, os.uname().machine, usable_threads(), memory)


def _processor() -> str:
    """What the system calls it, for want of /proc/cpuinfo or of a name there."""
    import platform  # starts a process to find out

    return platform.processor()


def _first_processor() -> dict[str, str]:
    try:
        block = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
