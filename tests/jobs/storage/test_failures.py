"""What an error of the storage means: for a person to fix, or worth running again."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.errors import Interrupted, UsageError
from embermill.jobs.storage import disk_failure, naming_file, naming_folder, of_disk, open_folder
from embermill.jobs.storage.object_client import store_for


@pytest.mark.parametrize(("code", "error", "advice"), [
    (errno.EACCES, UsageError, "let this user"),
    (errno.EROFS, UsageError, "let this user"),
    (errno.ENAMETOOLONG, UsageError, "choose another place"),
    (errno.EIO, Interrupted, ""),
    (errno.ESTALE, Interrupted, ""),
])  # fmt: skip
def test_an_error_of_the_file_system(code: int, error: type[Exception], advice: str) -> None:
    failure = disk_failure(OSError(code, os.strerror(code), "/data/x"), "/data: cannot be written")
    assert type(failure) is error and str(failure).startswith(f"/data: cannot be written: {os.strerror(code)}: /data/x") and advice in str(failure)


@pytest.mark.parametrize(
    ("endpoint", "allowed", "plain"),
    [("http://host:9000", "", True), ("http://host:9000", "false", False), ("https://host", "", False), ("https://host", "true", True), ("", "", False)],
)
def test_an_endpoint_that_is_given_as_http_may_be_asked_so(monkeypatch: pytest.MonkeyPatch, endpoint: str, allowed: str, plain: bool) -> None:
    for name, value in (("AWS_ENDPOINT_URL", endpoint), ("AWS_ALLOW_HTTP", allowed)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    store: Any = store_for("s3", "bucket")
    assert store.client_options["allow_http"] == str(plain).lower()


@pytest.mark.parametrize(("code", "reason"), [(errno.ENOSPC, "No space left on device"), (errno.EDQUOT, "Disk quota exceeded")])
def test_a_full_disk_is_named_with_what_is_free_on_it(code: int, reason: str, tmp_path: Path) -> None:
    """Of what the file system says it has; a quota leaves space that is not ours."""
    usage = shutil.disk_usage(tmp_path)
    free = rf", [\d,]+ of {usage.total:,} bytes are free" if code == errno.ENOSPC else ""
    advice = r": free disk space there and run the same command again, which resumes from what is committed"
    told = {
        rf"/o: cannot be written: its disk is full \({reason}{free}\)": disk_failure(OSError(code, ""), "/o: cannot be written", str(tmp_path / "o/p")),
        rf"part 1 on here: the disk of {tmp_path}/tmp is full \({reason}{free}\)": disk_failure(OSError(code, "", f"{tmp_path}/tmp/x"), "part 1 on here"),
        rf"x: the disk is full \({reason}\)": disk_failure(OSError(code, ""), "x"),
    }
    for words, failure in told.items():
        assert type(failure) is UsageError and re.fullmatch(words + advice, str(failure)), str(failure)


def test_an_error_that_names_no_file_is_of_the_one_being_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone") as raised, naming_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "gone")
    assert raised.value.filename == str(tmp_path / "a")
    with pytest.raises(OSError, match="gone") as raised, naming_file(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "gone", "/b")
    assert raised.value.filename == "/b"


def test_an_error_without_a_number_may_pass() -> None:
    assert str(disk_failure(OSError("something of Arrow's"), "/data")) == "/data: something of Arrow's"


@pytest.mark.parametrize("call", ["create", "replace", "temporary"])
def test_a_full_disk_is_for_a_person_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "mkdir" if call == "temporary" else "write_bytes", refuse)
    folder = open_folder(str(tmp_path / "out"))
    with pytest.raises(UsageError, match=r"out: cannot be written: its disk is full \(No space left on device, [\d,]+ of [\d,]+ bytes are free\): free disk"):
        getattr(folder, call)("data/a", *([] if call == "temporary" else [b"1"]))
    assert [name for name, _ in folder.list()] == []


def test_a_place_without_room_is_seen_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(str(tmp_path / "new/out"))
    folder.require_writable()
    assert list(tmp_path.iterdir()) == []

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UsageError, match=r"new/out: cannot be written: its disk is full \(No space left on device, .* bytes are free\): free disk space there"):
        folder.require_writable()


def test_a_dataset_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UsageError, match="cannot be read: Permission denied: let this user"):
        open_folder(str(tmp_path)).read("_embermill/format.json")


@pytest.mark.parametrize(("error", "words"), [
    (OSError(errno.EROFS, os.strerror(errno.EROFS), "/o/x"), "o: cannot be written: Read-only file system: /o/x: let this user write and read there"),
    (RuntimeError("LanceError(IO): Permission denied (os error 13)"), "o: cannot be written: Permission denied: let this user write and read there"),
    (RuntimeError("IO: No space left on device"), r"o: cannot be written: its disk is full \(No space left on device, .* run the same command again"),
])  # fmt: skip
def test_what_a_library_says_of_a_folder(tmp_path: Path, error: Exception, words: str) -> None:
    with pytest.raises(UsageError, match=words), naming_folder(tmp_path, "o: cannot be written"):
        raise error
    for passing in (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), RuntimeError("a bug")):
        assert of_disk(passing, "o", tmp_path) is None
