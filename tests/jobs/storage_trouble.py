"""A run in a process of its own, on an inline pool: to be killed, or put where the storage is in trouble.

    python -m tests.jobs.storage_trouble CONFIG     `embermill run CONFIG --json` without Ray
"""

from __future__ import annotations

import sys

from embermill.jobs import cli, run
from tests.jobs.command_line import open_inline_pool

if __name__ == "__main__":
    run.open_pool = open_inline_pool  # type: ignore[attr-defined]
    sys.argv = ["embermill", "run", sys.argv[1], "--json"]
    cli.entry()
