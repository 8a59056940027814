"""Text hashes by another process: the same digests, and the worker's own where it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.jobs.shard import hash_process
from embermill.jobs.shard.hash_process import HashProcess
from embermill.jobs.shard.text_hash import hash_texts


@pytest.fixture(scope="module")
def hasher() -> Iterator[HashProcess]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hash_process, "FEW", 0)
        made = HashProcess()
        yield made
        (pid,) = made.pids
        made.close()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=30), st.booleans(), st.integers(0, 3))
def test_the_digests_are_those_of_hash_texts(hasher: HashProcess, texts: list[str], wide: bool, skipped: int) -> None:
    array = pa.array(["sliced away"] * skipped + texts, pa.large_string() if wide else pa.string())[skipped:]
    assert hasher(array).equals(hash_texts(array))


def test_more_than_a_pipe_holds(hasher: HashProcess) -> None:
    array = pa.array([f"text {number} " * (number % 50) for number in range(16_384)])
    assert hasher(array).equals(hash_texts(array))


def test_where_the_process_is_gone_the_worker_hashes_itself(caplog: pytest.LogCaptureFixture) -> None:
    made = HashProcess()
    os.kill(made.pids[0], signal.SIGSTOP)  # so that it is asked before it is seen to be gone, and is not started anew
    threading.Timer(0.2, os.kill, (made.pids[0], signal.SIGKILL)).start()
    array = pa.array([f"text {number}" for number in range(1000)])
    for _ in range(2):
        assert made(array).equals(hash_texts(array))
    assert caplog.text.count("is gone") == 1
    made.close()


def test_its_program_imports_nothing_that_takes_time() -> None:
    """Neither NumPy nor Arrow: it is there when the first shard is."""
    modules = "import sys, embermill.jobs.shard.hash_server; print(sorted({'numpy', 'pyarrow', 'pydantic'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", modules], capture_output=True, text=True, check=True).stdout == "[]\n"
