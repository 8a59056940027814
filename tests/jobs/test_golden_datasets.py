"""Datasets that users made with commit 21abdb6 stay good: today's code reads, verifies, resumes and searches them, and the result is the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.dataset.views.compare import row_differences
from embermill.jobs.dataset.views.search import open_for_search, search_dataset
from embermill.jobs.plan.files import read_plan
from embermill.jobs.shard.contents import to_matrix
from embermill.jobs.storage import open_folder
from tests.jobs import golden_datasets as golden
from tests.jobs.command_line import Answer
from tests.jobs.golden_datasets import OldDataset

TOLERANCE = 1e-6  # of a vector's length: those of another CPU differ in their last bits, which are larger in longer vectors (a model here does not normalize)
Bring = Callable[[str], OldDataset]
Run = Callable[..., Answer]


@pytest.mark.parametrize("name", golden.DATASETS)
def test_its_fingerprint_is_the_one_that_was_frozen(name: str, old_dataset: Bring) -> None:
    plan = read_plan(open_folder(str(old_dataset(name).folder)))
    assert plan is not None and plan.fingerprint == golden.ANSWERS[name]["fingerprint"]


@pytest.mark.parametrize("name", golden.DATASETS)
def test_it_is_sound(name: str, old_dataset: Bring, command: Run) -> None:
    old = old_dataset(name)
    answer = command("verify", str(old.folder))
    assert answer.code == (0 if old.answers["finished"] else 33) and answer["damaged"] == 0, answer.errors
    assert answer["rows_out"] == old.answers["rows"] and answer["ok"] == answer["finished"] == old.answers["finished"]
    assert command("status", str(old.folder)).code == 0


@pytest.mark.parametrize("name", golden.FINISHED)
def test_a_finished_one_is_left_as_it_is(name: str, old_dataset: Bring, command: Run) -> None:
    old = old_dataset(name)
    before = {path: path.read_bytes() for path in old.folder.rglob("*") if path.is_file()}
    answer = command("run", str(old.config), *old.options)
    assert answer.code == 0, answer.errors
    assert answer["rows_embedded"] == 0 and answer["rows_out"] == old.answers["rows"]
    assert {path: path.read_bytes() for path in old.folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", golden.HALF_DONE)
def test_a_half_done_one_is_resumed_and_equals_the_finished_one(name: str, old_dataset: Bring, command: Run) -> None:
    old, finished = old_dataset(name), old_dataset(golden.HALF_DONE[name])
    held = {path: path.read_bytes() for folder in ("data", "quarantine") for path in (old.folder / folder).glob("*.parquet")}
    answer = command("run", str(old.config))
    assert answer.code == 0, answer.errors
    assert answer["committed_before"] > 0 and answer["rows_embedded"] > 0 and answer["rows_out"] == finished.answers["rows"]
    assert {path: path.read_bytes() for path in held} == held, "what was published stays, committed or not"
    assert command("verify", str(old.folder)).code == 0
    tolerance = TOLERANCE * longest_vector(finished.folder)
    assert row_differences(open_folder(str(finished.folder)), open_folder(str(old.folder)), tolerance=tolerance) == []


def longest_vector(folder: Path) -> float:
    """1.0 at least: the bound for vectors of unit length, whatever their last bits."""
    shards = [pq.read_table(path) for path in sorted((folder / "data").glob("*.parquet"))]
    columns = [shard.column(field.name) for shard in shards for field in shard.schema if pa.types.is_fixed_size_list(field.type)]
    return max(1.0, *(float(np.linalg.norm(to_matrix(column).astype(np.float64), axis=1).max()) for column in columns))


@pytest.mark.parametrize("name", golden.DATASETS)
def test_a_search_finds_what_it_found(name: str, old_dataset: Bring) -> None:
    old = old_dataset(name)
    dataset = open_for_search(str(old.folder))
    hits = search_dataset(dataset, golden.QUERY, k=5, prompt=dataset.model.query_prompt, device="cpu")
    expected = old.answers["hits"]
    assert [(hit.shard, hit.row, hit.columns[dataset.plan.rows.id_name]) for hit in hits] == [(hit["shard"], hit["row"], hit["id"]) for hit in expected]
    assert [hit.score for hit in hits] == pytest.approx([hit["score"] for hit in expected], abs=TOLERANCE)


def test_another_setting_is_refused_as_ever(old_dataset: Bring, command: Run) -> None:
    answer = command("run", str(old_dataset("articles-killed").config), "--set", "model.pooling=cls")
    assert answer.code == 2 and "model.pooling: mean -> cls" in json.loads(answer.stdout)["error"]["message"]
