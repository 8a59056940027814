"""The job on Ray: the same dataset as inline, workers that die, folders that shadow ours, errors that cross. One private Ray serves the whole file."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray._private.worker
import yaml

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.errors import DataError, Interrupted, UsageError
from embermill.jobs.pool.ray_session import RaySession, count_gpus, private_placement, require_listener, submitted_with_working_dir
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import open_inline_pool

ROWS = 300
Configure = Callable[..., JobConfig]


def settings(folder: Path, engine: str = "PlainEngine", name: str = "out", **sections: dict[str, Any]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {
        "model": {"engine": f"python:tests.jobs.engines:{engine}" if ":" not in engine else engine},
        "corpus": {"files": [str(folder / "corpus/*.parquet")], "partition_text_bytes": 700},
        "output": {"uri": str(folder / name)},
        "workers": {"count": 2},
    }
    for key, section in sections.items():
        values.setdefault(key, {}).update(section)
    return values


@pytest.fixture(scope="module")
def connected() -> Iterator[None]:
    with RaySession(JobConfig.model_validate(settings(Path("/")))) as session:
        session.wait()
        yield


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    (tmp_path / "corpus").mkdir()
    texts = [f"text number {row}" for row in range(ROWS)]
    pq.write_table(pa.table({"id": [f"r{row}" for row in range(ROWS)], "text": texts}), tmp_path / "corpus/a.parquet", row_group_size=50)
    return tmp_path


@pytest.fixture
def configure(connected: None, corpus: Path) -> Configure:
    return lambda *arguments, **sections: JobConfig.model_validate(settings(corpus, *arguments, **sections))


def test_two_workers_make_what_one_makes_inline(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    on_ray = run(configure())
    assert (on_ray.rows_out, on_ray.workers) == (ROWS, 2) and on_ray.bound
    inline = configure(name="inline")
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    run(inline)
    assert differences(open_folder(on_ray.output), open_folder(inline.output.uri)) == []
    hosts = {json.dumps(row["provenance"]) for row in _commits(Path(on_ray.output))}
    assert len(hosts) > 1, "the receipts tell which worker made each shard, and how long it took"


@pytest.mark.parametrize("workers", [{"device": "auto"}, {"device": "cpu"}])
def test_what_a_private_ray_will_have_is_known_before_it_is_started(configure: Configure, workers: dict[str, Any]) -> None:
    config = configure(workers=workers)
    assert private_placement(config.workers) == RaySession(config).placement()


@pytest.mark.parametrize(
    ("there", "visible", "counted"),
    [(8, None, 8), (8, ["0", "3"], 2), (1, ["0", "1"], 1), (2, [], 0), (0, None, 0)],
)
def test_gpus_are_counted_as_ray_counts_them(monkeypatch: pytest.MonkeyPatch, there: int, visible: list[str] | None, counted: int) -> None:
    manager = SimpleNamespace(get_current_node_num_accelerators=lambda: there, get_current_process_visible_accelerator_ids=lambda: visible)
    monkeypatch.setattr("ray._private.accelerators.get_accelerator_manager_for_resource", {"GPU": manager}.__getitem__)
    assert count_gpus() == counted


@pytest.mark.parametrize(("cupy", "counted"), [(2, 2), (None, 0)])
def test_gpus_are_counted_without_rays_own_count(monkeypatch: pytest.MonkeyPatch, cupy: int | None, counted: int) -> None:
    monkeypatch.setitem(sys.modules, "ray._private.accelerators", None)
    monkeypatch.setattr("embermill.jobs.pool.ray_session.gpu_library_here", lambda: cupy is not None)
    runtime = SimpleNamespace(getDeviceCount=lambda: cupy, CUDARuntimeError=RuntimeError)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))  # type: ignore[arg-type]
    assert count_gpus() == counted


def test_a_card_that_is_hidden_by_the_wrong_variable_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private.accelerators import amd_gpu

    monkeypatch.setattr("ray._private.accelerators.get_accelerator_manager_for_resource", lambda _: amd_gpu.AMDGPUAcceleratorManager)
    monkeypatch.delenv("HIP_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "0")
    with pytest.raises(UsageError, match="HIP_VISIBLE_DEVICES instead of ROCR_VISIBLE_DEVICES"):
        count_gpus()


def _commits(output: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((output / "_embermill/commits").glob("*.pq")) for row in pq.read_table(file).to_pylist()]


def test_a_partition_that_kills_its_worker_is_named_and_the_others_are_done(configure: Configure, corpus: Path) -> None:
    pq.write_table(pa.table({"id": ["k"], "text": ["kill"]}), corpus / "corpus/b.parquet")
    config = configure("DyingEngine", corpus={"partition_text_bytes": 1500})
    with pytest.raises(DataError, match=r"b\.parquet.*its worker died 3 times"):
        run(config)
    done = {row["id"] for file in Path(config.output.uri).glob("data/*.parquet") for row in pq.read_table(file).to_pylist()}
    assert len(done) >= ROWS - 100 and "k" not in done


def test_ray_keeps_nothing_of_workers_that_died(configure: Configure, corpus: Path) -> None:
    """Where an error holds what it went through, that lasts until Python looks for cycles among old objects: here it never does."""
    pq.write_table(pa.table({"id": ["k"], "text": ["kill"]}), corpus / "corpus/b.parquet")
    worker: Any = ray._private.worker.global_worker  # its annotations do not know of what it is connected by
    references = worker.core_worker.get_all_reference_counts
    gc.collect()
    before = references().keys()
    gc.disable()
    try:
        with contextlib.suppress(DataError):
            run(configure("DyingEngine", corpus={"partition_text_bytes": 1500}))
        end_s = time.monotonic() + 20
        while (kept := references().keys() - before) and time.monotonic() < end_s:
            time.sleep(0.1)
    finally:
        gc.enable()
    assert not kept


def test_errors_cross_with_their_kind_and_traceback(configure: Configure, corpus: Path) -> None:
    with pytest.raises(UsageError, match="could not be made: ValueError: broken"):
        run(configure("BrokenEngine"))
    pq.write_table(pa.table({"id": ["p"], "text": ["poison"]}), corpus / "corpus/b.parquet")
    summary = run(configure("PromptEngine", name="poisoned"))  # whose stream is open when it fails, on a queue that nobody finishes
    assert (summary.rows_out, summary.rows_quarantined) == (ROWS, 1), "it failed on two workers: the second one refuses the row, and its neighbours stay"


def test_a_worker_that_is_not_ready_in_time_is_given_up(configure: Configure) -> None:
    with pytest.raises(Interrupted, match=r"not ready after 0\.001 s.*workers\.start_timeout_s"):
        run(configure(workers={"start_timeout_s": 0.001}))


def test_the_command_works_in_a_folder_that_holds_folders_called_like_ours(corpus: Path) -> None:
    for name in ("jobs", "encoder", "tests", "ray"):
        (corpus / name).mkdir()
        (corpus / name / "__init__.py").write_text("raise ImportError('this is not the package you are looking for')")
    (corpus / "mine.py").write_text(
        textwrap.dedent("""
        import numpy as np
        from embermill.jobs.engine import Embedded, Output

        class Engine:
            def __init__(self, model, *, device, threads):
                self.device = device

            def fingerprint(self):
                return {"model.engine": "mine"}

            def outputs(self):
                return (Output("embedding", "dense", "float32", 2),)

            def embed(self, texts):
                for batch in texts:
                    ones = np.ones(len(batch), np.int32)
                    yield Embedded({"embedding": np.ones((len(batch), 2), np.float32)}, ones, 0 * ones)
        """)
    )
    (corpus / "job.yaml").write_text(yaml.safe_dump(settings(Path(), "python:mine:Engine", workers={"count": 3})))
    command = Path(sys.executable).parent / "embermill"
    environment = os.environ | {"RAY_ADDRESS": "10.0.0.1:6379", "HOME": str(corpus / "nowhere")}
    environment.pop("RAY_AUTH_TOKEN", None)
    done = subprocess.run([command, "run", "job.yaml", "--json"], cwd=corpus, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["rows_out"], answer["workers"]) == (ROWS, 3), "three workers, on however many cores"
    assert "RAY_ADDRESS=10.0.0.1:6379 is ignored" in done.stderr
    assert not (corpus / "nowhere").exists(), "nothing is written to the home folder"


def test_an_address_at_which_nobody_listens_is_refused_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(UsageError, match=r"ray\.address: 127\.0\.0\.1:\d+: nothing is listening there"):
            require_listener(f"127.0.0.1:{unused.getsockname()[1]}")
        unused.listen()
        require_listener(f"127.0.0.1:{unused.getsockname()[1]}")
    require_listener("auto")


def test_an_address_of_the_environment_that_is_none_is_no_defect(corpus: Path) -> None:
    (corpus / "job.yaml").write_text(yaml.safe_dump(settings(corpus, "python:tests.jobs.word_engines:WordEngine", ray={"address": "auto"})))
    command = [sys.executable, "-m", "embermill", "run", str(corpus / "job.yaml")]
    done = subprocess.run(command, env=os.environ | {"RAY_ADDRESS": "foo"}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "ray.address: auto (RAY_ADDRESS=foo)" in done.stderr, done.stderr
    assert {path.name for path in (corpus / "out/_embermill").iterdir()} <= {"lease", "tmp"}, "nothing but a lease that was released"


def test_a_submitted_job_may_have_a_working_dir_of_its_own() -> None:
    assert submitted_with_working_dir({"RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {"working_dir": "gcs://x.zip"}}'})
    for other in ({}, {"RAY_JOB_CONFIG_JSON_ENV_VAR": '{"runtime_env": {}}'}, {"RAY_JOB_CONFIG_JSON_ENV_VAR": "?"}):
        assert not submitted_with_working_dir(other)
