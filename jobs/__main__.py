"""`python -m jobs`: the same as the command `embermill`."""

from __future__ import annotations

import sys
from pathlib import Path

# `python -m` puts the working directory first on the path: a folder called `encoder` there would be taken for ours.
here = Path(__file__).resolve().parent.parent
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path.cwd() or Path(entry).resolve() == here]

from jobs.cli import entry  # noqa: E402

if __name__ == "__main__":
    entry()
