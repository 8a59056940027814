"""Small jobs and corpora to plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.engine import Output, Preview
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.forecast import Prospect
from embermill.jobs.plan.listing import survey_files
from embermill.jobs.plan.planning import check_columns, make_plan
from embermill.jobs.vectors.form import stored_vectors

FINGERPRINT = {
    "model.engine": "native",
    "model.max_tokens": "256",
    "model.prompt": "",
    "model.weights": "abc",
    "model.normalize": "true",
    "model.precision": "float32",
}
OUTPUTS = (Output("embedding", "dense", "float32", 8),)


def job(folder: Path, **sections: dict[str, Any]) -> JobConfig:
    settings: dict[str, dict[str, Any]] = {"model": {"source": "org/name"}, "corpus": {"files": ["corpus"]}, "output": {"uri": "out"}}
    for name, values in sections.items():
        settings.setdefault(name, {}).update(values)
    return JobConfig.model_validate(settings).anchored(folder)


def prospect(config: JobConfig, engine: Preview | None = None, device: str = "cpu") -> Prospect:
    """As embermill.jobs.preflight.look_ahead finds it, with no engine to ask."""
    engine, files = engine or Preview(), survey_files(config.corpus)
    return Prospect(device, engine, files, check_columns(config, files, stored_vectors(engine.outputs, ())))


def planned(config: JobConfig, device: str = "cpu", limit: int | None = None) -> Plan:
    return make_plan(config, FINGERPRINT, OUTPUTS, device, "float32", files=survey_files(config.corpus, limit))


def table(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def lines(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def ids(plan: Plan) -> list[Any]:
    return [identity for partition in plan.partitions for batch in read_rows(partition, plan.rows) for identity in batch.ids.to_pylist()]
