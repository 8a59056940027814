from __future__ import annotations

import json
import subprocess
import sys

import pytest

from embermill.jobs.dataset.metadata.liveness import is_gone, this_process

CODE = "import json; from embermill.jobs.dataset.metadata.liveness import this_process; print(json.dumps(this_process()), flush=True); input()"


def test_a_killed_process_is_gone_at_once() -> None:
    if not this_process()["scope"]:
        pytest.skip("this system does not tell")
    with subprocess.Popen([sys.executable, "-c", CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        process = json.loads(child.stdout.readline())
        assert not is_gone(process)
        child.kill()
        child.wait()
        assert is_gone(process)


def test_one_of_another_machine_boot_or_container_cannot_be_told() -> None:
    ours = this_process()
    assert not is_gone(ours) and not is_gone({}) and not is_gone({"host": ours["host"], "pid": 2**22 + 1})
    for change in ({"host": "another"}, {"scope": "another boot"}):
        assert not is_gone(ours | {"pid": 2**22 + 1} | change)


def test_a_process_id_that_was_used_again_is_gone() -> None:
    ours = this_process()
    assert is_gone(ours | {"started": "1"}) == bool(ours["scope"])
