"""The guides, as they stand: their commands and programs, on the demo, must answer its first question."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.index.targets.conftest import ROOT
from tests.jobs.index.targets.reading import TARGETS

pytestmark = [pytest.mark.index, pytest.mark.timeout(600)]
GUIDES = {name: ROOT / f"infra/guides/{name.removesuffix('-edge')}.md" for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_a_guide_finds_the_zip_file(name: str, demo: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    text = GUIDES[name].read_text()
    (shell,), (program,) = re.findall(r"```sh\n(.*?)```", text, re.S), re.findall(r"```python\n(.*?)```", text, re.S)
    install, command = shell.strip().splitlines()
    assert install.startswith("pip install 'embermill[")
    assert sum(line != "" and not line.startswith(("import", "from")) for line in [command, *program.strip().splitlines()]) <= 5
    (tmp_path / "demo").mkdir()
    shutil.copytree(demo, tmp_path / "demo/embeddings")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if name == "postgresql":  # the one thing that differs: where the server is
        url = request.getfixturevalue("postgres")
        where = url.partition("://")[2]
        command, program = command.replace("localhost/postgres?", f"{where}&"), program.replace("localhost/postgres", where)
    done = subprocess.run(["bash", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "counts equal" in done.stdout, done.stderr
    answer = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0 and "zipfile." in answer.stdout, answer.stderr + answer.stdout


def test_every_guide_is_linked_and_has_few_lines() -> None:
    readme = (ROOT / "README.md").read_text()
    for guide in GUIDES.values():
        assert f"infra/guides/{guide.name}" in readme
