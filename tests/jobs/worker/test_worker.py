"""A worker sees its one device and the driver's storage before it says that it is ready; remote_worker speaks for it across a pool."""

from __future__ import annotations

import pickle
from pathlib import Path
from queue import SimpleQueue

import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.errors import UsageError
from embermill.jobs.pool.base import Died
from embermill.jobs.pool.remote_worker import run_worker
from embermill.jobs.receipt import Ready
from embermill.jobs.worker.worker import Worker, WorkerJob, require_one_device


def config(folder: Path, engine: str = "PlainEngine") -> JobConfig:
    return JobConfig.model_validate(
        {"model": {"engine": f"python:tests.jobs.engines:{engine}"}, "corpus": {"files": ["none"]}, "output": {"uri": str(folder / "out")}}
    )


def test_ready_tells_what_the_plan_needs(tmp_path: Path) -> None:
    ready = Worker(WorkerJob(config(tmp_path), "cpu", 3)).start()
    assert (ready.device_kind, ready.precision, ready.threads) == ("cpu", "float32", 3) and ready.device_name and ready.pid and ready.host
    assert ready.fingerprint == {"model.engine": "plain", "model.weights": "00000000"} and ready.outputs[0].dim == 4
    assert pickle.loads(pickle.dumps(ready)) == ready


@pytest.mark.parametrize("environment", [{"CUDA_VISIBLE_DEVICES": "3"}, {"HIP_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "GPU-4a2f"}])
def test_exactly_one_device(environment: dict[str, str]) -> None:
    assert require_one_device(environment) == next(iter(environment.values()))


@pytest.mark.parametrize("environment", [{}, {"CUDA_VISIBLE_DEVICES": ""}, {"CUDA_VISIBLE_DEVICES": "0,1"}, {"HIP_VISIBLE_DEVICES": "0,1,2"}])
def test_no_device_and_several_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="exactly one device"):
        require_one_device(environment)


def test_storage_that_is_not_the_drivers_is_refused(tmp_path: Path) -> None:
    job = WorkerJob(config(tmp_path), "cpu", 1, mark=("_embermill/tmp/mark", b"nonce"))
    with pytest.raises(UsageError, match="does not see what the driver wrote"):
        Worker(job).start()
    (tmp_path / "out/_embermill/tmp").mkdir(parents=True)
    (tmp_path / "out/_embermill/tmp/mark").write_bytes(b"nonce")
    assert Worker(job).start()


def test_a_remote_worker_says_ready_first_and_its_last_words_last(tmp_path: Path) -> None:
    incoming: SimpleQueue[bytes] = SimpleQueue()
    events = run_worker(pickle.dumps(WorkerJob(config(tmp_path), "cpu", 1)), incoming)
    (ready,) = pickle.loads(next(events))
    assert isinstance(ready, Ready)
    (died,) = pickle.loads(next(run_worker(pickle.dumps(WorkerJob(config(tmp_path, "BrokenEngine"), "cpu", 1)), incoming)))
    assert isinstance(died, Died) and died.kind == "usage" and "ValueError: broken" in died.error
