"""Runs commands of `embermill`, each in a process of its own that may be killed: forked from one that has imported everything, which saves a second each.

    python -m tests.jobs.crashes.server     requests and exit codes are JSON, one a line
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

IMPORTED_ONCE = (
    "embermill.jobs.maintenance.garbage", "embermill.jobs.maintenance.redrive", "embermill.jobs.maintenance.repair",
    "embermill.jobs.dataset.views.status", "embermill.jobs.dataset.views.verify", "pyarrow.parquet", "pyarrow.dataset", "psutil", "rich.live", "rich.progress",
    "tests.jobs.engines",
)  # fmt: skip
ROOT = Path(__file__).parent.parent.parent.parent


class Commands:
    """The other end of the server."""

    def __init__(self, server: subprocess.Popen[str], words: Path) -> None:
        self._server, self.words = server, words

    def __call__(self, *arguments: str, **environment: str) -> int:
        """The exit code, -9 of a process that was killed. What it said is in `words`."""
        assert self._server.stdin is not None and self._server.stdout is not None
        request = {"arguments": arguments, "environment": {f"EMBERMILL_CRASH_{name}": value for name, value in environment.items()}, "words": str(self.words)}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(json.loads(self._server.stdout.readline()))


@contextlib.contextmanager
def serve_commands(folder: Path) -> Iterator[Commands]:
    """folder: for what they say."""
    server = subprocess.Popen([sys.executable, "-m", __name__], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Commands(server, folder / "words")
    finally:
        server.communicate()


def _serve() -> None:
    from embermill.jobs import cli, run
    from embermill.jobs.sync import stages
    from tests.bench.without_ray import without_ray
    from tests.jobs.command_line import open_inline_pool
    from tests.jobs.crashes.points import install_from_environment

    without_ray()
    for module in IMPORTED_ONCE:
        importlib.import_module(module)
    run.open_pool = stages.open_pool = open_inline_pool  # type: ignore[attr-defined]
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_run(cli.main, install_from_environment, request))
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])), flush=True)


def _run(main: object, install: object, request: dict[str, object]) -> int:
    assert callable(main) and callable(install)
    words = os.open(str(request["words"]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(words, stream)
    arguments, environment = request["arguments"], request["environment"]
    assert isinstance(arguments, Sequence) and isinstance(environment, dict)
    os.environ.update(environment)
    install()
    try:
        return int(main([*arguments, "--json"]))
    finally:
        sys.stderr.flush()
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
