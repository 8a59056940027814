"""The datasets that commit 21abdb6 made (tests/golden/datasets-21abdb6), brought where today's code can use them: a copy, their corpus and their models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

STORED = Path(__file__).parent.parent / "golden/datasets-21abdb6"
PREFIX = "golden-21abdb6"  # in the test bucket, as the plans have it
ANSWERS: dict[str, dict[str, Any]] = json.loads((STORED / "answers.json").read_text())
FINISHED = tuple(name for name, answer in ANSWERS.items() if answer["finished"])
HALF_DONE = {"articles-killed": "articles-finished", "notes-interrupted": "notes-finished", "local-killed": "minilm-finished"}  # name -> what it is finished
LIMITED = {"notes-limited": ("--limit", "70")}
DATASETS = (*FINISHED, *HALF_DONE)


@dataclass(frozen=True)
class OldDataset:
    """name: in tests/golden/datasets-21abdb6. folder: a copy that may be changed. config: the job that made it, as today's `embermill run` takes it.

    options: of that command. answers: what 21abdb6 said of it: fingerprint, rows, finished, and the hits of a search for QUERY.
    """

    name: str
    folder: Path
    config: Path
    options: tuple[str, ...]
    answers: dict[str, Any]


QUERY = "how do i open a zip file"


def upload(put_object: Callable[[str, bytes], None], bucket: str) -> None:
    """Corpus and models, to where the plans say they are."""
    for part in ("corpus", "models"):
        for file in sorted(path for path in (STORED / part).rglob("*") if path.is_file()):
            put_object(f"s3://{bucket}/{PREFIX}/{file.relative_to(STORED).as_posix()}", file.read_bytes())


def bring(name: str, folder: Path) -> OldDataset:
    """A copy of the dataset in `folder`, which must be the working directory where the plan speaks of local files ("local-"): those paths are relative."""
    options = LIMITED.get(name, ())
    dataset = folder / "-first-".join([name, *options[1:]])  # where `run --limit` puts it
    shutil.copytree(STORED / "datasets" / name, dataset)
    settings = yaml.safe_load((STORED / "jobs" / f"{name}.yaml").read_text())
    settings["output"]["uri"] = str(folder / name)
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(settings))
    if name.startswith("local-"):
        for planned in pq.read_table(dataset / "_embermill/plan/000001/inputs.parquet").to_pylist():
            file = folder / planned["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(STORED / planned["path"], file)
            os.utime(file, ns=(int(planned["version"]), int(planned["version"])))
    return OldDataset(name, dataset, config, options, ANSWERS[name])
