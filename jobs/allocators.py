"""Memory goes back to the system as soon as it is free: what a process holds follows what it does, not how long it has been at it.

By default Arrow's allocator (mimalloc) keeps freed pages per thread, and glibc an arena per thread: with threads that hand batches to one another
both grew with the length of a job (a driver by 127 %, a worker by 22 % over a corpus repeated 100 times).
"""

from __future__ import annotations

import os

SETTINGS = {"MALLOC_ARENA_MAX": "2", "MIMALLOC_PURGE_DELAY": "0"}


def return_memory_at_once() -> None:
    """For this process and those that it starts. Of use before pyarrow is loaded; what the user has set stays."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
