"""A server of http.server in a thread of its own, for as long as a `with` lasts."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from typing import TypeVar

Server = TypeVar("Server", bound=socketserver.BaseServer)
POLL_S = 0.01  # shutdown() waits so long at most; the library's default of half a second was most of some tests


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Closed at the end; a test that shut it down and closed it itself loses nothing."""
    thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
