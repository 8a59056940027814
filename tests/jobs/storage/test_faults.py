"""A store that fails, answers late or answers a conflict: what was put is put once, and nobody's work is overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from embermill.jobs.errors import Interrupted, UsageError
from embermill.jobs.storage import AlreadyExists, Folder, object_client, open_folder
from tests.serving import serving


class FaultyStore(ThreadingHTTPServer):
    """As much of S3 as a conditional put needs. `answers`: status codes for the next puts, with `code`; a negative one stores the object all the same."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.answers: list[int] = []
        self.code = "Fault"
        self.puts = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyStore

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.puts += 1
        answer = self.server.answers.pop(0) if self.server.answers else 200
        if answer == 200 and self.headers.get("If-None-Match") == "*" and self.path in self.server.objects:
            answer = 412
        if answer == 200 or answer < 0:
            self.server.objects[self.path] = (data, self.headers.get("x-amz-meta-embermillattempt", ""))
        self._answer(abs(answer), b"" if answer == 200 else f"<Error><Code>{self.server.code}</Code></Error>".encode(), {"ETag": '"e"'})

    def do_GET(self) -> None:
        if self.path not in self.server.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", {})
            return
        data, attempt = self.server.objects[self.path]
        self._answer(200, data, {"ETag": '"e"', "Last-Modified": "Tue, 24 Nov 2026 00:00:00 GMT", "x-amz-meta-embermillattempt": attempt})

    do_HEAD = do_GET

    def _answer(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    with serving(FaultyStore()) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        for name, value in (("AWS_ALLOW_HTTP", "true"), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_REGION", "us-east-1")):
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def folder(store: FaultyStore) -> Folder:
    return open_folder("s3://bucket/dataset")


@pytest.mark.parametrize(("answers", "puts"), [([503, 503], 3), ([-500], 2), ([409], 2), ([503, 409, 503], 4), ([-503, 409], 2)])
def test_one_put_gets_through(store: FaultyStore, folder: Folder, answers: list[int], puts: int) -> None:
    store.answers = answers
    folder.create("a", b"mine")
    assert folder.read("a") == b"mine" and store.puts == puts


@pytest.mark.parametrize("answers", [[], [503], [409], [503, 409]])
def test_what_stands_there_is_never_overwritten(store: FaultyStore, folder: Folder, answers: list[int]) -> None:
    folder.create("a", b"theirs")
    store.answers = answers
    with pytest.raises(AlreadyExists):
        folder.create("a", b"mine")
    assert folder.read("a") == b"theirs"


@pytest.mark.parametrize(
    ("answer", "code"), [(400, "ExpiredToken"), (400, "InvalidBucketName"), (401, "Fault"), (403, "AccessDenied"), (405, "MethodNotAllowed")]
)
def test_what_only_a_person_can_mend(store: FaultyStore, folder: Folder, answer: int, code: str) -> None:
    store.answers, store.code = [answer], code
    with pytest.raises(UsageError) as caught:
        folder.create("a", b"mine")
    assert "s3://bucket/dataset/a" in str(caught.value) and "check" in str(caught.value) and "credentials in the environment" in str(caught.value)
    assert "127.0.0.1" not in str(caught.value) and store.puts == 1


def test_a_bucket_that_is_not_there_is_named(store: FaultyStore, folder: Folder) -> None:
    store.answers, store.code = [404], "NoSuchBucket"
    with pytest.raises(UsageError, match=r"there is no such bucket: s3://bucket$"):
        folder.create("a", b"mine")


def test_a_slow_upload_is_worth_another_try(store: FaultyStore, folder: Folder) -> None:
    store.answers, store.code = [400], "RequestTimeout"
    with pytest.raises(Interrupted, match="s3://bucket/dataset/a"):
        folder.create("a", b"mine")


@pytest.mark.parametrize("answer", [429, 500, 503])
def test_what_does_not_pass_while_we_try_may_pass_later(store: FaultyStore, folder: Folder, monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    monkeypatch.setattr(object_client, "MAX_RETRIES", 1)
    store.answers = [answer] * 2
    with pytest.raises(Interrupted, match="s3://bucket/dataset/a"):
        folder.create("a", b"mine")
    assert store.puts == 2


def test_no_credentials_at_all(store: FaultyStore, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{store.server_port}")  # what a client asks then: on most machines nobody
    store.answers = [403]
    with pytest.raises(UsageError, match="there are no credentials in the environment"):
        folder.create("a", b"mine")
