"""A sample of tests/bench/job_partitions.py: `run` itself over many partitions, with workers that do nothing, stopped and resumed."""

from __future__ import annotations

from pathlib import Path

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.plan.files import read_plan
from embermill.jobs.storage import open_folder
from tests.bench import job_partitions

PARTITIONS = 1500


def test_stopped_and_resumed_all_partitions_are_committed_once_and_in_the_manifest(tmp_path: Path) -> None:
    job_partitions.corpus(tmp_path / "corpus", PARTITIONS)
    stopped = job_partitions.drive(tmp_path, PARTITIONS, 1000, False)
    resumed = job_partitions.drive(tmp_path, PARTITIONS, 0, False)
    assert (stopped["ended"], resumed["ended"]) == ("stopped", "finished")
    assert stopped["partitions"] < PARTITIONS and stopped["partitions"] + resumed["partitions"] == PARTITIONS, "none is done twice"
    folder = open_folder(str(tmp_path / "dataset"))
    plan, manifest = read_plan(folder), read_manifest(folder)
    assert plan is not None and manifest is not None and len(plan.partitions) == PARTITIONS
    assert manifest.shards.column("partition").to_pylist() == list(range(PARTITIONS))
    assert manifest.shards.select(CommitLog(folder).table().column_names).equals(CommitLog(folder).table())
    assert manifest.totals.rows_out == PARTITIONS * job_partitions.ROWS
