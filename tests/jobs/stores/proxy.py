"""A proxy in front of an object store of the tests: it forwards every request, or answers 503, cuts the connection, waits, or leaves a header out."""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.serving import serving

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class Faults:
    """Shares of requests. busy: 503 without doing it; lost: done, and the connection cut instead of an answer; cut: the answer ends in its middle.

    pauses_s: the next requests wait so long, one each. without: headers that are left out. refuse: (status, code) for every request, as of credentials
    that have expired. late_puts: (part of a key, seconds) by which matching puts are delayed.
    """

    busy: float = 0.0
    lost: float = 0.0
    cut: float = 0.0
    pauses_s: list[float] = field(default_factory=list)
    without: frozenset[str] = frozenset()
    refuse: tuple[int, str] | None = None
    late_puts: tuple[tuple[str, float], ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        self._random, self._lock = random.Random(self.seed), threading.Lock()

    def draw(self) -> float:
        with self._lock:
            return self._random.random()

    def pause_s(self) -> float:
        with self._lock:
            return self.pauses_s.pop() if self.pauses_s else 0.0


class FaultyProxy(ThreadingHTTPServer):
    """On loopback, in front of `upstream` ("http://127.0.0.1:PORT"). faults may be changed at any time. requests, puts: counted."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.faults = faults
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.requests = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """Cut connections are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    server: FaultyProxy

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _forward(self) -> None:
        faults, self.server.requests = self.server.faults, self.server.requests + 1
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(faults.pause_s() + sum(late for part, late in faults.late_puts if self.command == "PUT" and part in self.path))
        drawn = faults.draw()
        if faults.refuse is not None:
            self._answer(faults.refuse[0], f"<Error><Code>{faults.refuse[1]}</Code></Error>".encode(), [])
        elif drawn < faults.busy:
            self._answer(503, b"<Error><Code>SlowDown</Code></Error>", [])
        else:
            status, headers, data = self._ask(body)
            if drawn < faults.busy + faults.lost:
                self.close_connection = True
            elif drawn < faults.busy + faults.lost + faults.cut:
                self._answer(status, data[: len(data) // 2], headers, length=len(data))
                self.close_connection = True
            else:
                self._answer(status, data, headers)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = http.client.HTTPConnection(str(self.server.upstream.hostname), self.server.upstream.port, timeout=60)
        with contextlib.closing(upstream):
            headers = {name: value for name, value in self.headers.items() if name.lower() not in self.server.faults.without}
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            data = answer.read()
            self._length = answer.getheader("Content-Length")
            return answer.status, answer.getheaders(), data

    def _answer(self, status: int, data: bytes, headers: list[tuple[str, str]], length: int | None = None) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        told = self._length if self.command == "HEAD" and headers else length if length is not None else len(data)
        self.send_header("Content-Length", str(told))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextlib.contextmanager
def run_proxy(upstream: str, faults: Faults) -> Iterator[FaultyProxy]:
    with serving(FaultyProxy(upstream, faults)) as server:
        yield server
