"""The steps of infra/docker/Dockerfile, run on this machine without an engine: what they install works for a user without rights on a read-only tree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.services import ROOT

USER = 10001
pytestmark = pytest.mark.timeout(900)  # it downloads and installs what an image holds


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that another user may enter: pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="embermill-image-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def installed(place: Path) -> Path:
    """`RUN infra/docker/install.sh` over what .dockerignore lets through, and then nobody may write there. The environment."""
    sent = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in sent:
        (place / "src" / path).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / path).is_dir():
            shutil.copytree(ROOT / path, place / "src" / path, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / path, place / "src" / path)
    (step,) = re.findall(r"^RUN (.*)$", (ROOT / "infra/docker/Dockerfile").read_text(), re.MULTILINE)
    step = step.replace("/opt/embermill", str(place / "opt"))
    done = subprocess.run(
        ["sh", "-ec", step], cwd=place / "src", env=os.environ | {"FLAVOR": "cpu", "PYTHON": sys.executable}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copy(ROOT / "infra/repeat.sh", place / "opt/bin/repeat-33")
    shutil.rmtree(place / "src")
    subprocess.run(["chmod", "-R", "a-w", place / "opt"], check=True)
    return place / "opt"


def test_a_run_as_a_user_without_rights_on_a_read_only_tree(installed: Path, place: Path) -> None:
    home = place / "home"
    (home / "corpus").mkdir(parents=True)
    (home / "corpus/a.jsonl").write_text("\n".join(json.dumps({"id": str(row), "text": f"text {row}"}) for row in range(50)))
    (home / "mine.py").write_text(
        "import numpy as np\nfrom embermill.jobs.engine import Embedded, Output\n"
        "class Engine:\n"
        "    def __init__(self, model, *, device, threads): pass\n"
        "    def fingerprint(self): return {'model.engine': 'mine'}\n"
        "    def outputs(self): return (Output('embedding', 'dense', 'float32', 2),)\n"
        "    def embed(self, texts):\n"
        "        for batch in texts:\n"
        "            ones = np.ones(len(batch), np.int32)\n"
        "            yield Embedded({'embedding': np.ones((len(batch), 2), np.float32)}, ones, 0 * ones)\n"
    )
    job = {
        "model": {"engine": "python:mine:Engine"},
        "corpus": {"files": [str(home / "corpus/*.jsonl")]},
        "output": {"uri": str(home / "out")},
        "workers": {"device": "cpu", "count": 2},
    }
    (home / "job.yaml").write_text(yaml.safe_dump(job))
    environment = {"PATH": f"{installed}/bin:/usr/bin:/bin", "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": "/tmp"}
    command = [*as_nobody(installed, home), f"{installed}/bin/repeat-33", "embermill", "run", "job.yaml", "--json"]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_out"] == 50
    assert not [path for path in installed.rglob("__pycache__") if path.stat().st_mtime > (home / "job.yaml").stat().st_mtime]


AS_NOBODY = """
installed=$1 user=$2 prefix=$3 closed=$4; shift 4
if [ -n "$closed" ]; then  # the interpreter lies in somebody's closed home folder: here that holds nothing else, and is open
  held=$(mktemp -d); mount --bind "$prefix" "$held"; mount -t tmpfs -o mode=755 none "$closed"; mkdir -p "$prefix"
  mount --bind "$held" "$prefix"; mount -o remount,ro,bind "$prefix"
fi
mount --bind "$installed" "$installed"; mount -o remount,ro,bind "$installed"
exec setpriv --reuid="$user" --regid="$user" --clear-groups --inh-caps=-all "$@"
"""


def as_nobody(installed: Path, home: Path) -> list[str]:
    """A command before another: root becomes a user without rights, and what is installed a file system that nobody can write to. Others stay who they are."""
    may_mount = subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0
    if os.geteuid() != 0 or not (may_mount or os.environ.get("CI") == "true"):
        return []
    subprocess.run(["chown", "-R", f"{USER}:{USER}", home], check=True)
    prefix = Path(sys.base_prefix).resolve()
    closed = next((str(parent) for parent in [*reversed(prefix.parents), prefix] if not parent.stat().st_mode & 0o001), "")
    return ["unshare", "--mount", "sh", "-ec", AS_NOBODY, "sh", str(installed), str(USER), str(prefix), closed]
