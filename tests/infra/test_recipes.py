"""Scripts and recipes beside Kubernetes': repeat.sh, SLURM, SkyPilot, Docker. 33 alone is repeated; commands are ours; shellcheck and hadolint agree."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from embermill.jobs.cli import build_parser
from embermill.jobs.errors import EXIT_ANOTHER_RUN, EXIT_DATA, EXIT_DEFECT, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from tests.services import ROOT, program

INFRA = ROOT / "infra"
REPEAT = INFRA / "repeat.sh"
SCRIPTS = sorted([*INFRA.rglob("*.sh"), *INFRA.rglob("*.sbatch")])
MOST = 10


def counted(tmp_path: Path, code: int, until: int = 99) -> tuple[int, int, str]:
    """(exit code, times that it ran, stderr) of repeat.sh over a command that exits with `code`, and with 0 from its `until`-th time on."""
    script = tmp_path / "command.sh"
    script.write_text(f'echo x >> {tmp_path}/times\n[ "$(wc -l < {tmp_path}/times)" -ge {until} ] && exit 0\nexit {code}\n')
    done = subprocess.run([REPEAT, "sh", script], env={"PATH": "/usr/bin:/bin", "REPEAT_PAUSE_S": "0"}, capture_output=True, text=True, timeout=60)
    return done.returncode, len((tmp_path / "times").read_text().split()), done.stderr


@pytest.mark.parametrize("code", [EXIT_OK, EXIT_DEFECT, EXIT_USAGE, EXIT_DATA, EXIT_ANOTHER_RUN, 137])
def test_no_other_exit_code_is_repeated(tmp_path: Path, code: int) -> None:
    assert counted(tmp_path, code)[:2] == (code, 1)


def test_33_is_repeated_at_most_ten_times(tmp_path: Path) -> None:
    code, times, said = counted(tmp_path, EXIT_INTERRUPTED)
    assert (code, times) == (EXIT_INTERRUPTED, MOST + 1) and f"repeat {MOST} of {MOST}" in said


def test_a_repeat_that_succeeds_is_the_last(tmp_path: Path) -> None:
    assert counted(tmp_path, EXIT_INTERRUPTED, until=3)[:2] == (EXIT_OK, 3)


def test_pauses_grow(tmp_path: Path) -> None:
    (tmp_path / "sleep").write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/pauses\n')
    (tmp_path / "sleep").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run([REPEAT, "sh", "-c", f"exit {EXIT_INTERRUPTED}"], env=environment, capture_output=True, timeout=60)
    pauses = [int(line) for line in (tmp_path / "pauses").read_text().split()]
    assert pauses == [15, 30, 60, 120, 240, 480, 900, 900, 900, 900]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_goes_to_the_command_which_is_not_repeated(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "command.sh"
    script.write_text(f"trap 'echo told >> {tmp_path}/times; exit 33' TERM\necho began >> {tmp_path}/times\nwhile :; do sleep 0.1; done\n")
    running = subprocess.Popen([REPEAT, "sh", script], stderr=subprocess.DEVNULL)
    while not (tmp_path / "times").exists():
        time.sleep(0.05)
    running.send_signal(number)
    assert running.wait(30) == EXIT_INTERRUPTED
    assert (tmp_path / "times").read_text().split() == ["began", "told"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script: Path) -> None:
    done = subprocess.run([program("shellcheck"), script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_hadolint_has_nothing_to_say() -> None:
    done = subprocess.run([program("hadolint"), INFRA / "docker/Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def commands_in(text: str) -> list[list[str]]:
    """Arguments of each `embermill run` and `sync` in a script; a word that the shell would expand stands for itself."""
    joined = text.replace("\\\n", " ")
    return [shlex.split(found)[1:] for found in re.findall(r"^[^#\n]*?(embermill (?:run|sync) [^\n]*)", joined, re.MULTILINE)]


def slurm() -> str:
    return (INFRA / "slurm/embermill.sbatch").read_text()


def skypilot() -> dict[str, object]:
    found: dict[str, object] = yaml.safe_load((INFRA / "skypilot/embermill.yaml").read_text())
    return found


@pytest.mark.parametrize("text", [slurm(), str(skypilot()["run"])], ids=["slurm", "skypilot"])
def test_the_command_line_takes_what_a_recipe_calls(text: str) -> None:
    (arguments,) = commands_in(text)
    parsed = build_parser().parse_args(arguments)
    assert parsed.name == "run" and parsed.overrides == ["ray.address=auto"] and parsed.json


def test_slurm_repeats_33_by_the_script_and_everything_else_by_nothing() -> None:
    options = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in slurm().splitlines() if line.startswith("#SBATCH"))
    assert options["ntasks-per-node"] == "1" and "requeue" in options and options["signal"].startswith("B:TERM@")
    assert slurm().rstrip().endswith('exec "$repeat" "${start[@]}"') and "scontrol requeue" not in slurm()


def test_what_slurm_would_run(tmp_path: Path) -> None:
    """With srun and scontrol that only say what they were called with."""
    for name, body in {"srun": 'echo "$@"', "scontrol": "echo node-1; echo node-2"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin", "EMBERMILL_REPEAT": str(REPEAT), "SLURM_JOB_ID": "1234", "SLURM_JOB_NODELIST": "node-[1-2]",
        "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "64", "SLURM_GPUS_ON_NODE": "8",
    }  # fmt: skip
    done = subprocess.run(["bash", INFRA / "slurm/embermill.sbatch", "/shared/job.yaml"], env=environment, capture_output=True, text=True)
    started = "--kill-on-bad-exit=1 ray symmetric-run --address node-1:6634 --min-nodes 2 --num-cpus 64 --num-gpus 8 -- embermill run /shared/job.yaml"
    assert done.returncode == 0 and done.stdout.startswith(started), done.stderr


def test_ray_takes_what_symmetric_run_is_given() -> None:
    from ray.scripts.symmetric_run import symmetric_run

    known = {option for parameter in symmetric_run.params for option in parameter.opts}
    assert {"--address", "--min-nodes"} <= known


def test_skypilot_repeats_33_by_the_script_alone() -> None:
    recipe = skypilot()
    recovery = recipe["resources"]["job_recovery"]  # type: ignore[index]
    assert recovery["max_restarts_on_errors"] == 0 and "recover_on_exit_codes" not in recovery
    assert "exec repeat-33 ray symmetric-run" in str(recipe["run"])
    done = subprocess.run(["bash", "-n"], input=str(recipe["setup"]) + str(recipe["run"]), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_image_has_the_script_under_the_name_that_recipes_call() -> None:
    dockerfile = (INFRA / "docker/Dockerfile").read_text()
    assert "infra/repeat.sh /opt/embermill/bin/repeat-33" in dockerfile and re.search(r"^USER 10001", dockerfile, re.MULTILINE)
    sent = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all((ROOT / path).exists() for path in sent)
