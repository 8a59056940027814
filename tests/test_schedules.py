"""The examples of schedules: systemd takes the units, and the command line takes the commands in them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from embermill.jobs.cli import build_parser
from embermill.jobs.errors import EXIT_ANOTHER_RUN, EXIT_DATA, EXIT_DEFECT, EXIT_USAGE

EXAMPLES = Path(__file__).parent.parent / "infra/examples"
PROGRAM = "/opt/embermill/bin/embermill"


def commands() -> list[str]:
    service = (EXAMPLES / "embermill-sync.service").read_text()
    table = (EXAMPLES / "crontab").read_text()
    started = [line.removeprefix("ExecStart=") for line in service.splitlines() if line.startswith("ExecStart=")]
    return started + [line.split(None, 6)[6] for line in table.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("line", commands())
def test_the_command_line_takes_what_a_schedule_calls(line: str) -> None:
    program, *arguments = shlex.split(line.partition(">>")[0])
    parsed = build_parser().parse_args(arguments)
    assert program == PROGRAM and parsed.name == "sync" and parsed.json and parsed.events and Path(parsed.config).is_absolute()


def test_there_is_a_command_in_each() -> None:
    assert len(commands()) == 2


def test_what_systemd_makes_of_our_exit_codes() -> None:
    service = dict(line.split("=", 1) for line in (EXAMPLES / "embermill-sync.service").read_text().splitlines() if "=" in line and not line.startswith("#"))
    assert service["SuccessExitStatus"] == str(EXIT_ANOTHER_RUN)
    assert service["RestartPreventExitStatus"].split() == [str(code) for code in (EXIT_DEFECT, EXIT_USAGE, EXIT_DATA)]


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        missing = "systemd-analyze is not installed"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    assert analyze is not None
    program = tmp_path / "embermill"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in EXAMPLES.glob("embermill-sync.*"):
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, str(program)))
    environment = os.environ | {"SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    units = [str(tmp_path / "embermill-sync.service"), str(tmp_path / "embermill-sync.timer")]
    done = subprocess.run([analyze, "verify", "--man=no", "--recursive-errors=no", *units], capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
