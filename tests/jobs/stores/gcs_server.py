"""A small Google Cloud Storage for the tests: as much of the published XML API as a client needs that lists, reads ranges, and puts on a condition.

No emulator from the registries speaks that API. What it follows, by the names of Google's reference: "List objects" (list-type=2, with prefix,
continuation-token, max-keys), "Get/Put/Delete/Head object", Range with 206 and Content-Range, If-Match with 412, x-goog-if-generation-match (0: only
where there is none), x-goog-generation, ETag, x-goog-meta-*, and errors as <Error><Code>.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.serving import serving

PAGE = 1000


@dataclass(frozen=True)
class Stored:
    """One version of an object."""

    data: bytes
    generation: int
    metadata: dict[str, str]

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}-{self.generation}"'


@dataclass
class Buckets:
    """Bucket -> key -> what is there."""

    objects: dict[str, dict[str, Stored]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    generation: int = 0

    def put(self, bucket: str, key: str, data: bytes, metadata: dict[str, str], if_generation: str | None) -> Stored | None:
        """None where the condition does not hold."""
        with self.lock:
            standing = self.objects[bucket].get(key)
            if if_generation is not None and int(if_generation) != (standing.generation if standing else 0):
                return None
            self.generation += 1
            stored = self.objects[bucket][key] = Stored(data, self.generation, metadata)
            return stored


class GcsServer(ThreadingHTTPServer):
    """On loopback. environment: what a client needs to reach it."""

    daemon_threads = True

    def __init__(self, account_file: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.buckets = Buckets()
        address = f"http://127.0.0.1:{self.server_port}"
        account_file.write_text(json.dumps({"gcs_base_url": address, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}))
        self.environment = {"GOOGLE_SERVICE_ACCOUNT": str(account_file), "GOOGLE_BASE_URL": address, "GOOGLE_ALLOW_HTTP": "true"}

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.buckets.put(bucket, key, data, {}, None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # an answer is one packet
    server: GcsServer

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        bucket, key = self._place()
        if bucket not in self.server.buckets.objects:
            self._error(404, "NoSuchBucket")
        elif not key:
            self._list(bucket)
        elif (stored := self.server.buckets.objects[bucket].get(key)) is None:
            self._error(404, "NoSuchKey")
        elif self.headers.get("If-Match") not in (None, "*", stored.etag):
            self._error(412, "PreconditionFailed")
        else:
            self._send_object(stored)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        bucket, key = self._place()
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if bucket not in self.server.buckets.objects:
            self._error(404, "NoSuchBucket")
            return
        metadata = {name.lower(): value for name, value in self.headers.items() if name.lower().startswith("x-goog-meta-")}
        stored = self.server.buckets.put(bucket, key, data, metadata, self.headers.get("x-goog-if-generation-match"))
        if stored is None:
            self._error(412, "PreconditionFailed")
        else:
            self._answer(200, b"", {"ETag": stored.etag, "x-goog-generation": str(stored.generation)})

    def do_DELETE(self) -> None:
        bucket, key = self._place()
        gone = self.server.buckets.objects.get(bucket, {}).pop(key, None)
        if gone is None:
            self._error(404, "NoSuchKey")
        else:
            self._answer(204, b"", {})

    def _place(self) -> tuple[str, str]:
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        return bucket, key

    def _send_object(self, stored: Stored) -> None:
        headers = {"ETag": stored.etag, "Last-Modified": formatdate(0, usegmt=True), "x-goog-generation": str(stored.generation), **stored.metadata}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self._answer(200, stored.data, headers)
            return
        start, end = int(wanted[1]), min(int(wanted[2] or len(stored.data) - 1), len(stored.data) - 1)
        if start > end:
            self._error(416, "InvalidRange")
            return
        self._answer(206, stored.data[start : end + 1], headers | {"Content-Range": f"bytes {start}-{end}/{len(stored.data)}"})

    def _list(self, bucket: str) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}
        assert query.get("list-type") == "2" and "delimiter" not in query, query
        after, size = query.get("continuation-token", query.get("start-after", "")), min(PAGE, int(query.get("max-keys", PAGE)))
        with self.server.buckets.lock:
            standing = sorted(self.server.buckets.objects[bucket].items())
        found = [(key, stored) for key, stored in standing if key.startswith(query.get("prefix", "")) and key > after]
        page, more = found[:size], len(found) > size
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Generation>{stored.generation}</Generation><LastModified>1970-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(stored.etag)}</ETag><Size>{len(stored.data)}</Size></Contents>"
            for key, stored in page
        )
        token = f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>" if more else ""
        body = f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
        self._answer(200, f"<?xml version='1.0' encoding='UTF-8'?>{body}".encode(), {"Content-Type": "application/xml"})

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>".encode(), {"Content-Type": "application/xml"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def run_gcs_server() -> Iterator[GcsServer]:
    with tempfile.TemporaryDirectory(prefix="gcs-") as folder, serving(GcsServer(Path(folder) / "account.json")) as server:
        yield server
