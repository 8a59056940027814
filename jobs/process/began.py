"""When this process was started: what a person who waits for it counts from."""

from __future__ import annotations

import os
import time
from pathlib import Path

STARTTIME = 19  # of /proc/self/stat behind the name: field 22 of proc(5), in clock ticks since boot


def process_began_s() -> float:
    """By time.monotonic(); now, where the system does not tell."""
    now_s = time.monotonic()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[STARTTIME])
        return now_s - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, ValueError, IndexError):
        return now_s
