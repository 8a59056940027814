"""`submit`, `jobs`, `logs` and `stop` against a real `ray start --head`: one for the whole file, and one more without embermill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from embermill.jobs.dataset.metadata.lease import hold_lease
from embermill.jobs.storage import open_folder
from tests.jobs.submit.heads import PRIVATE, Head, start_head
from tests.test_install import make_environment

ROWS = 600
SECRET = "s3kr3t-of-this-machine"
ENGINE = textwrap.dedent("""
    import time
    from pathlib import Path

    import numpy as np
    from embermill.jobs.engine import Embedded, Output

    class Engine:
        '''Takes its time while the file `model.source` is there.'''

        def __init__(self, model, *, device, threads):
            self.slow = Path(model.source)

        def fingerprint(self):
            return {"model.engine": "sleepy"}

        def outputs(self):
            return (Output("embedding", "dense", "float32", 2),)

        def embed(self, texts):
            for batch in texts:
                time.sleep(3.0 if self.slow.exists() else 0)
                ones = np.ones(len(batch), np.int32)
                yield Embedded({"embedding": np.ones((len(batch), 2), np.float32)}, ones, 0 * ones)
""")


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    if find_spec("aiohttp_cors") is None:
        missing = "ray[default] is not installed (infra/lock-test.txt has it)"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    with start_head(Path(sys.executable)) as started:
        yield started


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A corpus, and a folder with an engine that is sent along."""
    (tmp_path / "corpus").mkdir()
    lines = [json.dumps({"id": f"r{row}", "text": f"text {row}"}) for row in range(ROWS)]
    (tmp_path / "corpus/a.jsonl").write_text("\n".join(lines))
    (tmp_path / "code").mkdir()
    (tmp_path / "code/sleepy.py").write_text(ENGINE)
    (tmp_path / "code/.env").write_text(f"TOKEN={SECRET}")
    return tmp_path


def write(project: Path, name: str, **sections: dict[str, Any]) -> Path:
    settings: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:sleepy:Engine", "source": str(project / "slow")},
        "corpus": {"files": [str(project / "corpus/*.jsonl")], "partition_text_bytes": 60},
        "output": {"uri": str(project / name)},
        "workers": {"count": 1, "device": "cpu"},
    }
    for section, values in sections.items():
        settings.setdefault(section, {}).update(values)
    file = project / f"{name}.yaml"
    file.write_text(yaml.safe_dump(settings))
    return file


def environment(head: Head) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in PRIVATE}
    return kept | {"RAY_API_SERVER_ADDRESS": head.address, "RAY_AUTH_TOKEN": head.token, "HF_TOKEN": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET}


def begin(head: Head, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "embermill", *map(str, arguments), "--json"]
    return subprocess.Popen(command, env=environment(head), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    out, err = process.communicate(timeout=180)
    return process.returncode, json.loads(out), err


def call(head: Head, *arguments: str | Path) -> tuple[int, dict[str, Any], str]:
    """Exit code, answer, stderr."""
    return ended(begin(head, *arguments))


def await_line(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    pytest.fail(f"it ended without saying {words!r}")


def test_submit_follow_detach_come_back_stop_and_submit_again(head: Head, project: Path) -> None:
    slow, job = project / "slow", write(project, "articles")
    slow.touch()
    watching = begin(head, "submit", job, "--working-dir", project / "code")
    await_line(watching, "tokens/s")
    watching.send_signal(signal.SIGINT)
    code, answer, _ = ended(watching)
    assert (code, answer["detached"], answer["status"], answer["name"]) == (0, True, "RUNNING", "articles")

    code, listed, _ = call(head, "jobs")
    assert code == 0 and [(each["name"], each["status"], each["exit_code"]) for each in listed["jobs"]] == [("articles", "RUNNING", None)]
    code, answer, _ = call(head, "submit", job, "--working-dir", project / "code")
    assert code == 4 and "embermill logs articles" in answer["error"]["message"], "it is not started twice"

    back = begin(head, "logs", "articles")
    await_line(back, "tokens/s")
    code, answer, err = call(head, "stop", "articles")
    assert (code, answer["status"], answer["was_running"]) == (0, "STOPPED", True), err
    code, answer, _ = ended(back)
    assert code == 33 and "submit it again" in answer["error"]["message"]
    committed = [*(project / "articles/_embermill/commits").glob("*.pq")]
    assert committed, "it had time to commit what was ready"

    slow.unlink()
    code, answer, err = call(head, "submit", job, "--working-dir", project / "code")
    assert code == 0, err
    summary = answer["summary"]
    assert (answer["id"], summary["rows_out"]) == ("articles-2", ROWS) and summary["committed_before"] > 0, "it resumed"
    assert 0 < summary["rows_embedded"] < ROWS
    code, answer, _ = call(head, "logs", "articles", "--no-follow")
    assert code == 0 and "partitions" in answer["log"]


ENDS: dict[int, dict[str, Any]] = {
    2: {"model": {"engine": "python:nowhere:Engine"}},
    3: {"corpus": {"max_quarantined": 0}},
    4: {},
    33: {"workers": {"count": 1, "device": "cpu", "start_timeout_s": 0.001}},
}


def test_the_drivers_exit_code_becomes_the_jobs_and_ours(head: Head, project: Path) -> None:
    (project / "corpus/bad.jsonl").write_text("{\n")
    with hold_lease(open_folder(str(project / "ends-4")), lease_s=600):
        jobs = {code: begin(head, "submit", write(project, f"ends-{code}", **sections), "--working-dir", project / "code") for code, sections in ENDS.items()}
        found = {code: ended(process) for code, process in jobs.items()}
    assert {code: each[0] for code, each in found.items()} == {code: code for code in ENDS}, {code: each[1:] for code, each in found.items()}
    assert {code: each[1]["error"]["exit_code"] for code, each in found.items()} == {code: code for code in ENDS}
    assert "nowhere" in found[2][1]["error"]["message"] and "workers.start_timeout_s" in found[33][1]["error"]["message"]
    listed = {each["name"]: each["exit_code"] for each in call(head, "jobs")[1]["jobs"]}
    assert {f"ends-{code}": code for code in ENDS}.items() <= listed.items()


def test_secrets_of_this_machine_stay_here(head: Head, project: Path) -> None:
    code, answer, err = call(head, "submit", write(project, "secrets"), "--working-dir", project / "code", "--no-follow")
    assert code == 0 and answer["detached"] is False, err
    job = head.ask(f"/api/jobs/{answer['id']}")
    assert SECRET not in json.dumps(job) and head.token not in json.dumps(job)
    assert job["runtime_env"]["env_vars"] == {"RAY_JOB_STOP_WAIT_TIME_S": "60"}
    call(head, "logs", "secrets")
    assert SECRET not in head.ask(f"/api/jobs/{answer['id']}/logs")["logs"]


def exported(head: Head) -> dict[str, float]:
    """Our metrics without labels of their own, as Prometheus would scrape them now."""
    with urllib.request.urlopen(head.metrics, timeout=10) as answer:
        found = re.findall(r"^ray_embermill_(\w+)\{([^}]*)\} (\S+)$", answer.read().decode(), re.MULTILINE)
    return {name: float(value) for name, labels, value in found if "/measured" in labels and not re.search('(stage|state|queue|kind)="', labels)}


def test_rays_exporter_has_the_jobs_metrics_while_it_runs_and_those_of_its_summary_at_the_end(head: Head, project: Path) -> None:
    slow = project / "slow"
    slow.touch()
    following = begin(head, "submit", write(project, "measured"), "--working-dir", project / "code")
    until_s = time.monotonic() + 120
    while (during := exported(head)).get("workers") != 1 and time.monotonic() < until_s:
        time.sleep(0.5)
    assert (during["running"], during["workers"]) == (1, 1) and "dataset_version" not in during
    slow.unlink()
    code, answer, err = ended(following)
    after = exported(head)
    assert code == 0, err
    summary = answer["summary"]
    assert {key: after[f"{key}_total"] for key in ("documents", "tokens", "tokens_dropped", "rows_quarantined")} == {
        key: summary[key] for key in ("documents", "tokens", "tokens_dropped", "rows_quarantined")
    }
    assert (after["running"], after["workers"], after["dataset_version"]) == (0, 0, 1)
    assert abs(time.time() - after["dataset_version_timestamp_seconds"]) < 300


def test_what_the_cluster_lacks_is_refused_before_anything_is_sent(head: Head, project: Path) -> None:
    before = len(head.ask("/api/jobs/"))
    code, answer, _ = call(head, "submit", write(project, "no-gpu", workers={"device": "auto"}), "--working-dir", project / "code")
    assert code == 2 and "no node of this cluster has a GPU" in answer["error"]["message"]
    code, answer, _ = call(head, "submit", write(project, "crowd", workers={"count": 9}), "--working-dir", project / "code")
    assert code == 2 and "room for 2" in answer["error"]["message"]
    stranger = Head(head.address, "0" * 64)
    code, answer, _ = call(stranger, "jobs")
    assert code == 2 and "RAY_AUTH_TOKEN" in answer["error"]["message"]
    assert len(head.ask("/api/jobs/")) == before and not (project / "no-gpu").exists()


def test_a_name_that_no_job_has(head: Head) -> None:
    for command in ("logs", "stop"):
        code, answer, _ = call(head, command, "nobody")
        assert code == 2 and "no job is called nobody" in answer["error"]["message"]


def test_a_head_without_embermill_is_refused_and_starts_nothing(head: Head, project: Path) -> None:
    aiohttp_cors = find_spec("aiohttp_cors")
    assert aiohttp_cors is not None
    bare = make_environment(project / "bare")
    (site,) = (project / "bare").glob("lib/python*/site-packages")
    (site / "dashboard.pth").write_text(f"{Path(str(aiohttp_cors.origin)).parent.parent}\n")  # beside Ray, unless it is elsewhere
    with start_head(bare) as lacking:
        code, answer, err = call(lacking, "submit", write(project, "lacking"), "--working-dir", project / "code")
    assert code == 2 and "embermill is not installed on the head" in answer["error"]["message"], err
    assert not (project / "lacking").exists()
