"""Every kind of model source: what it resolves to, what it is pinned to, and what is said when there is nothing."""

from __future__ import annotations

import errno
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embermill.encoder.errors import SourceError
from embermill.encoder.hub_errors import client_error
from embermill.encoder.sources import fetch_model, file_digest, files_digest
from tests.serving import serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m").mkdir()
    monkeypatch.chdir(tmp_path)
    found = fetch_model("m")
    assert found.folder == tmp_path / "m" and found.folder.is_absolute() and found.revision is None
    assert fetch_model(f"file://{tmp_path}/m").folder == fetch_model(Path("m")).folder == tmp_path / "m"


@pytest.mark.parametrize("source", ["./absent", "/absent/model", "a/b/c", "absent model"])
def test_nothing_there(source: str) -> None:
    with pytest.raises(SourceError, match="no such folder, and it is not a hub id"):
        fetch_model(source)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(SourceError, match="this is a file; expected the model's folder"):
        fetch_model(str(tmp_path / "model.safetensors"))


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="revision='main' has no meaning for a folder"):
        fetch_model(str(tmp_path), revision="main")


def test_a_package_is_found_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "ships_a_model"
    (package / "models" / "small").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert fetch_model("package:ships_a_model/models/small").folder == package / "models" / "small"
    assert fetch_model("package:ships_a_model").folder == package
    with pytest.raises(SourceError, match="package ships_a_model has no folder 'models/large'; looked in"):
        fetch_model("package:ships_a_model/models/large")
    assert "ships_a_model" not in sys.modules


@pytest.mark.parametrize("source", ["package:not_installed_here/model", "package:json/../x", "package:a.b/c", "package:"])
def test_packages_that_cannot_be(source: str) -> None:
    with pytest.raises(SourceError, match=r"no package not_installed_here|expected package:NAME/SUBDIR"):
        fetch_model(source)


def test_digests_follow_the_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    stamp = one.stat()
    assert file_digest(one) == hashlib.sha256(b"1").hexdigest() == files_digest(tmp_path, [one])
    both = files_digest(tmp_path, [one, two])
    assert both == files_digest(tmp_path, [two, one]) != file_digest(one)
    one.write_bytes(b"3")
    os.utime(one, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size, same time: still another content
    assert files_digest(tmp_path, [one, two]) != both


FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": b"weights",
    "1_Pooling/config.json": b"{}",
    "pytorch_model.bin": b"a pickle, never fetched",
    "onnx/model.onnx": b"not ours",
    "onnx/config.json": b"{}",
}
WANTED = {"config.json", "model.safetensors", "1_Pooling/config.json"}


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the Hugging Face hub as fetching a model asks of it."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:4] == ["api", "models", "us", "tiny"] and parts[4:5] == ["revision"]:
            return self.send({}, json.dumps({"id": "us/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in FILES]}).encode(), body)
        if parts[:4] == ["api", "models", "us", "tiny"] and parts[4:5] == ["tree"]:
            listing = [{"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()} for name, content in FILES.items()]
            return self.send({}, json.dumps(listing).encode(), body)
        name = "/".join(parts[4:])
        if parts[:3] == ["us", "tiny", "resolve"] and name in FILES:
            etag = hashlib.sha1(FILES[name]).hexdigest()
            return self.send({"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, FILES[name], body)
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, headers: dict[str, str], content: bytes, body: bool) -> None:
        self.send_response(200)
        for key, value in (headers | {"Content-Length": str(len(content)), "Content-Type": "application/json"}).items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[http.server.ThreadingHTTPServer]:
    with serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)) as server:
        yield server


def fetch_in_a_new_process(address: str, cache: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """huggingface_hub reads its settings when it is imported."""
    script = (
        "import sys, json; from embermill.encoder.sources import fetch_model; from embermill.encoder.errors import SourceError\n"
        "try:\n    found = fetch_model(sys.argv[1], revision=sys.argv[2] if len(sys.argv) > 2 else None)\n"
        "except SourceError as error:\n    sys.exit(str(error))\n"
        "print(json.dumps([found.revision, str(found.folder), sorted(str(p.relative_to(found.folder)) for p in found.folder.rglob('*') if p.is_file())]))"
    )
    environment = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.run([sys.executable, "-c", script, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=60)


def test_the_hub(hub: http.server.ThreadingHTTPServer, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{hub.server_port}"
    done = fetch_in_a_new_process(address, tmp_path, "us/tiny")
    assert done.returncode == 0, done.stderr
    revision, folder, files = json.loads(done.stdout)
    assert revision == COMMIT and set(files) == WANTED and Path(folder).name == COMMIT
    absent = fetch_in_a_new_process(address, tmp_path, "us/absent")
    assert absent.returncode == 1 and "no such folder here, and the Hugging Face hub shows no such model to you. Check the spelling" in absent.stderr
    hub.shutdown()
    hub.server_close()  # from here on there is no network: the cache serves a branch and a commit
    for revision in ([], [COMMIT]):
        offline = fetch_in_a_new_process(address, tmp_path, "us/tiny", *revision)
        assert offline.returncode == 0 and json.loads(offline.stdout)[0] == COMMIT, offline.stderr
    elsewhere = tmp_path / "elsewhere"
    away = fetch_in_a_new_process(address, elsewhere, "us/tiny")
    reason = rf"the Hugging Face hub \({address}\) cannot be reached: .*Connection refused\. Without the hub give the model's folder or package:"
    assert away.returncode == 1 and re.search(reason, away.stderr) and "Got:" not in away.stderr, away.stderr
    named = re.search(r"models--… in (\S+), or where HF_HOME says", away.stderr)
    assert named is not None and Path(named[1]).is_relative_to(elsewhere)
    (copied,) = (tmp_path / "hub").glob("models--*")
    shutil.copytree(copied, Path(named[1]) / copied.name, symlinks=True)
    assert fetch_in_a_new_process(address, elsewhere, "us/tiny").returncode == 0
    assert fetch_in_a_new_process(address, elsewhere, folder).returncode == 0, "the model's folder itself"


def test_the_hub_is_not_asked_while_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    told = fetch_in_a_new_process("http://127.0.0.1:9", tmp_path, "us/tiny").stderr
    assert "the Hugging Face hub is not asked while HF_HUB_OFFLINE is set: unset it. Without the hub give" in told, told


@pytest.mark.parametrize(("error", "words"), [
    (OSError(errno.ENOSPC, "full"), r"it cannot be kept in the cache .*: No space left on device: free disk space there, or name another folder in HF_HOME"),
    (client_error()("the proxy said no"), r"cannot be reached: the proxy said no\. Without the hub"),
    (ValueError("odd"), r"the Hugging Face hub gave: odd\. Check"),
])  # fmt: skip
def test_what_the_hubs_client_raises(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    def download(*arguments: object, **options: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(SourceError, match=words):
        fetch_model("us/tiny")


def test_a_fresh_signature_is_the_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBERMILL_CACHE", str(tmp_path))
    monkeypatch.setattr("embermill.encoder.sources._list_objects", lambda source, patterns: {"config.json": {"path": "config.json", "size": 2, "e_tag": "x"}})
    fetched: list[str] = []

    def download(source: str, entries: object, folder: Path) -> None:
        fetched.append(source)
        folder.mkdir(parents=True)

    monkeypatch.setattr("embermill.encoder.sources._download", download)
    folders = [fetch_model(f"https://store/model?version=1&sig={signature}").folder for signature in ("a", "b")]
    assert folders[0] == folders[1] and fetched == ["https://store/model?version=1&sig=a"]
    assert fetch_model("https://store/model?version=2&sig=a").folder != folders[0]


def test_an_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        address = "http://{}:{}".format(*server.get_host_and_port())
        credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
        for key, value in (credentials | {"AWS_ENDPOINT_URL": address, "EMBERMILL_CACHE": str(tmp_path / "cache")}).items():
            monkeypatch.setenv(key, value)
        client = boto3.client("s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="models")
        for name, content in FILES.items():
            client.put_object(Bucket="models", Key=f"models/tiny/{name}", Body=content)
        found = fetch_model("s3://models/models/tiny")
        assert {str(path.relative_to(found.folder)) for path in found.folder.rglob("*") if path.is_file()} == WANTED
        assert fetch_model("s3://models/models/tiny/", revision=found.revision).folder == found.folder
        assert [path.name for path in found.folder.parent.iterdir()] == [found.revision]
        client.put_object(Bucket="models", Key="models/tiny/model.safetensors", Body=b"WEIGHTS")
        changed = fetch_model("s3://models/models/tiny")
        assert changed.revision != found.revision and (changed.folder / "model.safetensors").read_bytes() == b"WEIGHTS"
        with pytest.raises(SourceError, match="its files changed"):
            fetch_model("s3://models/models/tiny", revision=found.revision)
        with pytest.raises(SourceError, match="nothing there that a model is read from"):
            fetch_model("s3://models/elsewhere")
    finally:
        server.stop()
