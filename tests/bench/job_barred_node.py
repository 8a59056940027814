"""A cluster of two nodes on this machine, on one of which every worker dies when it loads its engine: that node gets no more workers, the other one finishes.

    python -m tests.bench.job_barred_node

Real raylets (ray.cluster_utils), a joined cluster, four workers wanted and room for two on each node. Prints what was said and exits 1 unless the node was
named, with the cause, and the dataset is whole.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from ray.cluster_utils import Cluster

from embermill.jobs.config import JobConfig
from embermill.jobs.run import run
from tests.bench.stub_engine import StubEngine

ROWS = 20_000
MARK = "EMBERMILL_BENCH_DIES"  # in the environment of one node's raylet, and so of its workers


class DiesOnOneNode(StubEngine):
    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        super().__init__(model, device=device, threads=threads)
        if MARK in os.environ:
            os._exit(7)
        time.sleep(1.0)


class Said(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def main() -> int:
    said = Said()
    logging.getLogger("embermill").addHandler(said)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        texts = [f"document {row}" for row in range(ROWS)]
        pq.write_table(pa.table({"id": [f"r{row}" for row in range(ROWS)], "text": texts}), folder / "corpus.parquet", row_group_size=500)
        cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        cluster.add_node(num_cpus=2)
        cluster.add_node(num_cpus=2, env_vars={MARK: "1"})
        cluster.wait_for_nodes()
        job = {
            "model": {"engine": "python:tests.bench.job_barred_node:DiesOnOneNode"},
            "corpus": {"files": [str(folder / "corpus.parquet")], "partition_text_bytes": 4000},
            "output": {"uri": str(folder / "out")},
            "workers": {"count": 4, "device": "cpu"},
            "ray": {"address": cluster.address},
        }
        begin_s = time.monotonic()
        summary = run(JobConfig.model_validate(job))
        seconds = time.monotonic() - begin_s
        cluster.shutdown()
    print("\n".join(line[:300] for line in said.lines))
    named = [line for line in said.lines if "gets no more workers" in line]
    right = summary.rows_out == ROWS and len(named) == 1
    print(f"{summary.rows_out} of {ROWS} rows, {len(named)} node barred, {seconds:.0f} s: {'right' if right else 'WRONG'}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
