"""infra/airflow in a real Airflow, in an environment of its own (.services/airflow): imported, and run against a job server that only says how a job ended."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.cli import build_parser
from embermill.jobs.errors import EXIT_ANOTHER_RUN, EXIT_DATA, EXIT_DEFECT, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from tests.services import ROOT, SERVICES

DAG = ROOT / "infra/airflow/embermill_sync.py"
MOST = 10
RAY = '''
import json, os
from pathlib import Path
from types import SimpleNamespace

TOLD = Path(os.environ["TOLD"])


class JobSubmissionClient:
    """Takes down what it is asked; each job ends as ENDS says: an exit code, null for none, or "away" for a server that does not answer."""

    def __init__(self, address):
        self._tell(["address", address])
        if os.environ["ENDS"] == '"away"':
            raise ConnectionError("nothing is listening there")

    def _tell(self, what):
        with TOLD.open("a") as file:
            file.write(json.dumps(what) + "\\n")

    def list_jobs(self):
        return [SimpleNamespace(submission_id=each) for each in json.loads(os.environ.get("JOBS", "[]"))]

    def submit_job(self, **keywords):
        self._tell(["submit", keywords])

    def get_job_info(self, job):
        code = json.loads(os.environ["ENDS"])
        return SimpleNamespace(status="SUCCEEDED" if code == 0 else "FAILED", driver_exit_code=code)

    def get_job_logs(self, job):
        return "the log"

    def stop_job(self, job):
        self._tell(["stop", job])
'''
PROGRAM = '''
import json, os, sys
from datetime import UTC, datetime
from types import SimpleNamespace
import embermill_sync as module
from airflow.models.taskinstance import TaskInstance

task = module.dag.get_task("sync")
if sys.argv[1] == "describe":
    told = {"retries": task.retries, "active": module.dag.max_active_runs, "catchup": module.dag.catchup, "command": task.command, "pauses": []}
    for number in range(1, task.retries + 1):
        instance = SimpleNamespace(task=task, dag_id="d", task_id="sync", logical_date=None, try_number=number, retry_delay_override=None,
                                   end_date=datetime(2026, 1, 1, tzinfo=UTC))
        told["pauses"].append((TaskInstance.next_retry_datetime(instance) - instance.end_date).total_seconds())
    print(json.dumps(told))
else:
    outcomes = []
    for code in json.loads(sys.argv[2]):
        os.environ["ENDS"] = json.dumps(code)
        try:
            task.execute({"ti": SimpleNamespace(run_id="scheduled__2026-01-01T02:00:00+00:00", try_number=3)})
            outcomes.append("done")
        except Exception as error:
            outcomes.append(type(error).__name__)
    print(json.dumps(outcomes))
    if sys.argv[1] == "kill":
        task.on_kill()
'''


def call(folder: Path, what: str, codes: list[object] | None = None, **environment: str) -> tuple[Any, list[Any]]:
    """(what the program printed, what Ray's client was asked). codes: how the jobs end, one after another."""
    python = SERVICES / "airflow/bin/python"
    if not python.exists():
        missing = "Airflow is not installed: run infra/install_services.sh"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    (folder / "fakes/ray").mkdir(parents=True, exist_ok=True)
    (folder / "fakes/ray/__init__.py").touch()
    (folder / "fakes/ray/job_submission.py").write_text(RAY)
    told = folder / "told"
    told.unlink(missing_ok=True)
    given = {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(folder / "airflow"), "TOLD": str(told), "PYTHONPATH": f"{folder / 'fakes'}:{DAG.parent}"}
    given |= {"PYTHONDONTWRITEBYTECODE": "1", "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR", "HOME": str(folder)} | environment
    done = subprocess.run([python, "-c", PROGRAM, what, json.dumps(codes)], env=given, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []


def test_it_is_repeated_ten_times_with_growing_pauses(tmp_path: Path) -> None:
    found, _ = call(tmp_path, "describe")
    assert found["retries"] == MOST and found["active"] == 1 and found["catchup"] is False
    pauses = found["pauses"]
    assert pauses == sorted(pauses) and 15 <= pauses[0] < 30 and pauses[3] > 4 * pauses[0] and pauses[-1] == 900
    words = shlex.split(found["command"])
    parsed = build_parser().parse_args(words[1:])
    assert words[0] == "embermill" and parsed.name == "sync" and parsed.overrides == ["ray.address=auto"]


def test_33_alone_is_repeated(tmp_path: Path) -> None:
    repeated, ending = [EXIT_INTERRUPTED, None, -9, 137, "away"], [EXIT_DEFECT, EXIT_USAGE, EXIT_DATA, EXIT_ANOTHER_RUN]
    outcomes, _ = call(tmp_path, "execute", [EXIT_OK, *repeated, *ending])
    assert outcomes == ["done", *["AirflowException"] * len(repeated), *["AirflowFailException"] * len(ending)]


def test_a_job_that_is_there_is_followed_and_not_submitted_twice(tmp_path: Path) -> None:
    _, told = call(tmp_path, "execute", [0])
    ((_, submitted),) = [each for each in told if each[0] == "submit"]
    name = submitted["submission_id"]
    assert name == "articles-scheduled__2026-01-01T02-00-00-00-00-3" and submitted["runtime_env"] == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}}
    outcome, told = call(tmp_path, "kill", [0], JOBS=json.dumps([name]))
    assert outcome == ["done"] and [each for each in told if each[0] != "address"] == [["stop", name]]


def test_airflow_finds_the_dag(tmp_path: Path) -> None:
    """As its own `dags list` does."""
    call(tmp_path, "describe")
    given = {"PATH": "/usr/bin:/bin", "AIRFLOW_HOME": str(tmp_path / "airflow"), "HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    program = f"from airflow.dag_processing.dagbag import DagBag; bag = DagBag({str(DAG.parent)!r}); print(bag.dag_ids, bag.import_errors)"
    done = subprocess.run([SERVICES / "airflow/bin/python", "-c", program], env=given, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "['embermill_sync'] {}", done.stderr
