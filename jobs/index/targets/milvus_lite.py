"""Milvus Lite for as long as one load lasts.

`MilvusClient("docs.db")` starts the same server, and leaves it running, with the database locked, until the process ends: a program that called `load` would
keep everybody else out, and would itself go on with what it had in memory while others wrote. So ours is started and stopped here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from milvus_lite.adapter.grpc.server import start_server_in_thread
from milvus_lite.exceptions import DataDirLockedError

from embermill.jobs.errors import AnotherRun

GRACE_S = 2.0


class LiteServer:
    """address: for a client in this process. Raises AnotherRun where another process has the database open."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._server: Any
        try:
            self._server, self._database, port = start_server_in_thread(str(path.absolute()))
        except DataDirLockedError:
            raise AnotherRun(f"{path}: another process, or another client in this one, has this database open: close it, then run the load again") from None
        self.address = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.stop(GRACE_S).wait()
        self._database.close()
