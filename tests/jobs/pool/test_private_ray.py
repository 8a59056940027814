"""A private Ray is private: its folder, its ports, another user of the machine; and nothing of it outlives a driver that was killed."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from embermill.jobs.config import JobConfig
from embermill.jobs.pool.ray_home import OWNER, PREFIX, ray_home
from embermill.jobs.pool.reaper import MARK, marked
from embermill.jobs.run import run

ROOT = Path(__file__).parent.parent.parent.parent
NOBODY = 65534
pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """`embermill run` at work, with a TMPDIR too long for the name of a socket in it."""
    folder = tmp_path_factory.mktemp("job")
    rows = 4000
    pq.write_table(pa.table({"id": [f"r{row}" for row in range(rows)], "text": ["some text"] * rows}), folder / "corpus.parquet", row_group_size=100)
    job: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:tests.jobs.engines:SlowEngine"},
        "corpus": {"files": [str(folder / "corpus.parquet")], "partition_text_bytes": 1000},
        "output": {"uri": str(folder / "out")},
        "workers": {"count": 1},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    long = folder / ("x" * 100)
    long.mkdir()
    command = [sys.executable, "-m", "embermill", "run", str(folder / "job.yaml")]
    running = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TMPDIR": str(long)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not list((folder / "out").glob("_embermill/commits/*")):
        assert running.poll() is None, running.communicate()[1]
        time.sleep(0.05)
    yield running
    running.kill()
    running.communicate()


@pytest.fixture(scope="module")
def home(driver: subprocess.Popen[bytes]) -> Path:
    (mark,) = {child.environ().get(MARK) for child in psutil.Process(driver.pid).children() if "gcs_server" in child.name()}
    assert mark is not None
    return Path(mark)


def ports(driver: subprocess.Popen[bytes], home: Path) -> dict[int, tuple[str, str]]:
    """Port -> (process, address) of every listening socket of the session."""
    found: dict[str, object] = {}
    for pid in [driver.pid, *marked(str(home))]:
        process = psutil.Process(pid)
        listening = [each.laddr for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN]
        found |= {address.port: (process.name(), address.ip) for address in listening}
    return found  # type: ignore[return-value]


def test_its_folder_is_this_users_alone(home: Path) -> None:
    assert home.name.startswith(PREFIX) and home.stat().st_mode & 0o777 == 0o700 and home.stat().st_uid == os.getuid()
    assert list(home.glob("r/session_*/sockets/plasma_store")), "its sockets are in there"


def test_it_listens_on_loopback_alone(driver: subprocess.Popen[bytes], home: Path) -> None:
    found = ports(driver, home)
    assert len(found) >= 5 and {address.removeprefix("::ffff:") for _, address in found.values()} == {"127.0.0.1"}, found


def test_its_driver_keeps_no_metrics_and_no_task_events(driver: subprocess.Popen[bytes], home: Path) -> None:
    threads = {comm.read_text().strip() for comm in Path(f"/proc/{driver.pid}/task").glob("*/comm")}
    assert "worker.io" in threads and not [name for name in threads if name.startswith("task_event")], threads


def test_another_version_of_ray_starts_as_it_does_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its workers get what they need by an environment that Ray makes for them."""
    monkeypatch.setattr("embermill.jobs.pool.lean_ray.TRIED", ("0.",))
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["one", "two"]}), tmp_path / "corpus.parquet")
    job = {
        "model": {"engine": "python:tests.jobs.engines:PlainEngine"}, "corpus": {"files": [str(tmp_path / "corpus.parquet")]},
        "output": {"uri": str(tmp_path / "out")}, "workers": {"count": 1},
    }  # fmt: skip
    assert run(JobConfig.model_validate(job)).rows_out == 2


def test_no_secret_is_in_a_command_line(home: Path) -> None:
    tokens = tokens_of(home)
    for pid in marked(str(home)):
        with contextlib.suppress(psutil.NoSuchProcess):
            assert not [word for word in psutil.Process(pid).cmdline() for token in tokens if token in word]


def tokens_of(home: Path) -> set[str]:
    tokens = set()
    for pid in marked(str(home)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended
            if "gcs" in psutil.Process(pid).name():
                tokens.add(psutil.Process(pid).environ()["RAY_AUTH_TOKEN"])
    assert tokens and "" not in tokens
    return tokens


ATTACK = """
import json, os, sys
home, token_mode, ports = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
os.environ["RAY_AUTH_MODE"] = token_mode
if token_mode == "token":
    os.environ["RAY_AUTH_TOKEN"] = "0" * 64
from ray._raylet import GcsClient
os.setgroups([]); os.setgid(NOBODY); os.setuid(NOBODY)
said = {}
try:
    said["folder"] = os.listdir(home)
except PermissionError:
    said["folder"] = "refused"
try:
    open(os.path.join(home, "x"), "w")
    said["write"] = "written"
except PermissionError:
    said["write"] = "refused"
for port in ports:
    try:
        client = GcsClient(address=f"127.0.0.1:{port}")
        said[port] = repr(client.internal_kv_keys(b"", b"session", timeout=5))
    except Exception as error:
        said[port] = type(error).__name__
print(json.dumps(said))
""".replace("NOBODY", str(NOBODY))


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user needs root")
@pytest.mark.parametrize("mode", ["disabled", "token"], ids=["no token", "another token"])
def test_another_user_of_the_machine_reads_and_joins_nothing(driver: subprocess.Popen[bytes], home: Path, mode: str) -> None:
    gcs = [port for port, (name, _) in ports(driver, home).items() if "gcs_server" in name]
    done = subprocess.run([sys.executable, "-c", ATTACK, str(home), mode, json.dumps(gcs)], capture_output=True, text=True, timeout=60)
    said = json.loads(done.stdout)
    assert said.pop("folder") == said.pop("write") == "refused"
    assert said == {str(port): "AuthenticationError" for port in gcs}, done.stderr


def test_nothing_of_it_answers_over_http(driver: subprocess.Popen[bytes], home: Path) -> None:
    """No dashboard, no agent that takes jobs or makes environments, no exporter of metrics: what they would answer, and to whom, is no question then."""
    for port in ports(driver, home):
        with pytest.raises((http.client.BadStatusLine, urllib.error.URLError, ConnectionError)):  # it speaks gRPC, or has ended
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)


def test_it_is_a_control_store_a_raylet_and_a_process_for_each_worker(driver: subprocess.Popen[bytes], home: Path) -> None:
    """What each of the others costs at the start is in infra/decisions/0005."""
    commands = [" ".join(psutil.Process(pid).cmdline()) for pid in marked(str(home), but=driver.pid)]
    kinds = ("gcs_server", "raylet/raylet", "agent_stand_in.py", "ray::")
    found = Counter(next((kind for kind in kinds if kind in command.partition(" --")[0]), command) for command in commands)
    assert found == {"gcs_server": 1, "raylet/raylet": 1, "agent_stand_in.py": 2, "ray::": 1}, "a Ray that was not tried with jobs/pool/lean_ray.py starts more"


def test_nothing_but_files_of_the_dataset_outlives_a_killed_driver(driver: subprocess.Popen[bytes], home: Path) -> None:
    assert json.loads((home / OWNER).read_text())["pid"] == driver.pid
    before = marked(str(home))
    driver.kill()
    driver.wait()
    end_s = time.monotonic() + 10
    while (home.exists() or any(map(psutil.pid_exists, before))) and time.monotonic() < end_s:
        time.sleep(0.1)
    left = [psutil.Process(pid).cmdline() for pid in before if psutil.pid_exists(pid)]
    assert not left and not home.exists()


def test_the_folder_goes_with_the_session_and_what_it_started(tmp_path: Path) -> None:
    with ray_home() as home:
        environment = os.environ | {MARK: str(home)}
        stays = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment)
    assert stays.wait(10) == -signal.SIGKILL and not home.exists()
