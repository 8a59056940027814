"""Whole runs on every storage, killed and resumed; and on storage that is busy, cut off, slow, full, read-only or that takes the credentials no more."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from embermill.jobs.config import load_config
from embermill.jobs.dataset.metadata.commits import COMMITS
from embermill.jobs.dataset.views.compare import differences, row_differences
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import open_inline_pool
from tests.jobs.stores.proxy import Faults, run_proxy

ROOT = Path(__file__).parent.parent.parent
ROWS = 240
PATIENCE_S = 120
TEXTS = "".join(json.dumps({"id": f"r{row}", "text": f"document {row}"}) + "\n" for row in range(ROWS)).encode()


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)


def write_job(folder: Path, name: str, corpus: str, output: str, engine: str = "PlainEngine") -> Path:
    settings: dict[str, dict[str, Any]] = {
        "model": {"engine": f"python:tests.jobs.engines:{engine}"},
        "corpus": {"files": [corpus], "partition_text_bytes": 600},
        "output": {"uri": output},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def start(job: Path, *before: str) -> subprocess.Popen[str]:
    command = [*before, sys.executable, "-m", "tests.jobs.storage_trouble", str(job)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_commits(process: subprocess.Popen[str], output: str, than: int = 0) -> None:
    deadline, folder = time.monotonic() + PATIENCE_S, open_folder(output)
    while len(list(folder.list(COMMITS))) <= than:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1]
        time.sleep(0.05)


@pytest.mark.parametrize("scheme", ["local", "s3", "az", "gs"])
def test_killed_and_run_again(scheme: str, tmp_path: Path, store_url: Callable[[str], str], put_object: Callable[[str, bytes], None]) -> None:
    where = str(tmp_path) if scheme == "local" else store_url(scheme)
    if scheme == "local":
        (tmp_path / "corpus.jsonl").write_bytes(TEXTS)
    else:
        put_object(f"{where}/corpus.jsonl", TEXTS)
    corpus = f"{where}/corpus.jsonl"
    undisturbed = run(load_config(write_job(tmp_path, "undisturbed", corpus, f"{where}/undisturbed", "SlowEngine")))
    job = write_job(tmp_path, "killed", corpus, f"{where}/killed", "SlowEngine")
    driver = start(job)
    wait_for_commits(driver, f"{where}/killed")
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    summary = run(load_config(job))
    assert summary.rows_out == ROWS and 0 < summary.committed_before < summary.shards == undisturbed.shards
    assert differences(open_folder(f"{where}/undisturbed"), open_folder(f"{where}/killed")) == []
    assert verify(open_folder(f"{where}/killed")).to_json()["ok"]


@pytest.fixture
def on_s3(tmp_path: Path, s3_folder_url: str, put_object: Callable[[str, bytes], None]) -> tuple[Path, str]:
    """A job whose corpus and dataset are on S3, and the dataset's URL; what it should give lies in tmp_path/right."""
    (tmp_path / "corpus.jsonl").write_bytes(TEXTS)
    put_object(f"{s3_folder_url}/corpus.jsonl", TEXTS)
    run(load_config(write_job(tmp_path, "right", str(tmp_path / "corpus.jsonl"), str(tmp_path / "right"))))
    return write_job(tmp_path, "job", f"{s3_folder_url}/corpus.jsonl", f"{s3_folder_url}/out"), f"{s3_folder_url}/out"


def require_right(tmp_path: Path, output: str) -> None:
    assert row_differences(open_folder(str(tmp_path / "right")), open_folder(output)) == []
    assert verify(open_folder(output)).to_json()["ok"]


def test_a_busy_store_that_cuts_connections_and_pauses(on_s3: tuple[Path, str], s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses_s = [float(os.environ.get("EMBERMILL_TEST_PAUSE_S", "1"))] * 3
    with run_proxy(s3_server, Faults(busy=0.2, lost=0.025, cut=0.025, pauses_s=pauses_s, seed=5)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        summary = run(load_config(on_s3[0]))
        assert summary.rows_out == ROWS and proxy.requests > 100 and not proxy.faults.pauses_s
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    require_right(tmp_path, on_s3[1])


def test_credentials_that_expire(on_s3: tuple[Path, str], s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_proxy(s3_server, Faults()) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        job = write_job(tmp_path, "slow", on_s3[1].replace("/out", "/corpus.jsonl"), on_s3[1], "SlowEngine")
        driver = start(job)
        wait_for_commits(driver, on_s3[1])
        proxy.faults = Faults(refuse=(400, "ExpiredToken"))
        out, errors = driver.communicate(timeout=PATIENCE_S)
        assert driver.returncode == 2 and "check" in errors and "credentials in the environment" in errors and "ExpiredToken" in errors, errors
        assert "secret-of-the-test" not in errors + out
        proxy.faults = Faults()
        resumed = run(load_config(job))
    assert resumed.committed_before > 0 and resumed.rows_out == ROWS
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    assert verify(open_folder(on_s3[1])).to_json()["ok"]


def own_mounts() -> list[str]:
    """A command before another that gives it mounts of its own. Needs root, or user namespaces."""
    for command in (["unshare", "-m"], ["unshare", "-Urm"]):
        if shutil.which("unshare") and subprocess.run([*command, "sh", "-c", "mount -t tmpfs none /mnt"], capture_output=True).returncode == 0:
            return command
    missing = "no unshare that may mount a tmpfs here: needs root or user namespaces"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def test_a_disk_that_is_full_or_read_only_in_mid_run(tmp_path: Path) -> None:
    """One process with a small tmpfs of its own: the run fills it, then it is made larger; then read-only, then writable."""
    (tmp_path / "corpus.jsonl").write_bytes(TEXTS)
    run(load_config(write_job(tmp_path, "right", str(tmp_path / "corpus.jsonl"), str(tmp_path / "right"))))
    disk = tmp_path / "disk"
    disk.mkdir()
    job = write_job(tmp_path, "job", str(tmp_path / "corpus.jsonl"), str(disk / "out"), "SlowEngine")
    runs = f"{sys.executable} -m tests.jobs.storage_trouble {job}"
    script = f"""
mount -t tmpfs -o size=200k none {disk}
{runs} 2> {tmp_path}/full; echo full $?
mount -o remount,size=100m {disk}
({runs} 2> {tmp_path}/read-only; echo read-only $?) & run=$!
before=$(ls {disk}/out/_embermill/commits | wc -l)
while kill -0 $run && [ $(ls {disk}/out/_embermill/commits | wc -l) -le $before ]; do sleep 0.02; done
mount -o remount,ro {disk} || echo busy
wait $run
mount -o remount,rw {disk}
{runs} 2> {tmp_path}/resumed > /dev/null; echo resumed $?
cp -r {disk}/out {tmp_path}/out
"""
    done = subprocess.run([*own_mounts(), "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE_S)
    codes = dict(line.split() for line in done.stdout.splitlines() if line.startswith(("full", "read-only", "resumed")))
    told = {name: (tmp_path / name).read_text() for name in ("full", "read-only", "resumed")}
    assert codes["full"] == "2" and "disk is full (No space left on device, " in told["full"], (codes, told["full"], done.stderr)
    assert " of 204,800 bytes are free): free disk space there and run the same command again" in told["full"] and f"{disk}/out" in told["full"]
    assert codes["read-only"] in ("2", "33") and ("Read-only file system" in told["read-only"] or "busy" in done.stdout), (codes, told["read-only"])
    assert codes["resumed"] == "0", told["resumed"]
    require_right(tmp_path, str(tmp_path / "out"))
