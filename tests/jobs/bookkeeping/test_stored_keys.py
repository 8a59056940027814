"""A key that a stored plan, footer or commit lacks counts as the value beside it: datasets made before the key came are resumed, checked and searched."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.bookkeeping.stored_keys import IfAbsent, added, added_fields, describe_changes, differing_keys, stored_form
from embermill.jobs.config import KEYS, JobConfig, ModelConfig
from embermill.jobs.config import job_config as configuration
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.dataset.metadata import receipt_table
from embermill.jobs.engine import Output
from embermill.jobs.errors import UsageError
from embermill.jobs.partition import Segment, partition_id
from embermill.jobs.plan import changes
from embermill.jobs.plan.files import ROOT, read_plan
from embermill.jobs.receipt import Receipt
from embermill.jobs.run import run
from embermill.jobs.shard.footer import Footer, explain_mismatch, make_footer, plan_digest
from embermill.jobs.storage import open_folder
from tests.jobs import golden_datasets as golden
from tests.jobs.golden_datasets import OldDataset
from tests.jobs.sample_dataset import make_plan

Bring = Callable[[str], OldDataset]


@given(st.dictionaries(st.text(max_size=2), st.integers()), st.dictionaries(st.text(max_size=2), st.integers()))
def test_the_keys_that_differ_do_not_depend_on_the_side(one: dict[str, int], other: dict[str, int]) -> None:
    differing = differing_keys(one, other)
    assert differing == differing_keys(other, one) == sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    assert differing_keys(one, other, one) == [key for key in sorted(other) if other[key] != one.get(key)]


def test_changes_in_words() -> None:
    old, new = {"a": 1, "b": "x", "c": " y"}, {"b": "z", "c": " y", "d": "late", "e": ("t",)}
    assert describe_changes(old, new, {"d": "late"}) == ["a: 1 -> unset", "b: x -> z", 'e: unset -> ["t"]']


@dataclass(frozen=True)
class LaterRows(RowSchema):
    deduplicate: bool = added(False)


@dataclass(frozen=True)
class LaterSegment(Segment):
    encoding: str = added("utf-8")


def test_digests_of_older_datasets_stay_where_a_later_field_says_what_was_done_then() -> None:
    plan = make_plan()
    same, other = (dataclasses.replace(plan, rows=LaterRows(**vars(plan.rows), deduplicate=value)) for value in (False, True))
    assert plan_digest(same) == plan_digest(plan) != plan_digest(other)
    segment = plan.partitions[0].segments[0]
    as_before, latin = (LaterSegment(**dataclasses.asdict(segment), encoding=encoding) for encoding in ("utf-8", "latin-1"))
    assert partition_id((as_before,)) == partition_id((segment,)) != partition_id((latin,))
    assert stored_form(as_before) == segment.planned() and added_fields(LaterSegment) == {"encoding": "utf-8", "seen": None}


def test_a_footer_without_a_later_key_is_this_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan()
    footer = make_footer(plan, plan.partitions[0], 0, rows_out=3, rows_quarantined=0, last=True)
    later = dataclasses.replace(plan, fingerprint=plan.fingerprint | {"model.rounding": "nearest"})
    assert _mismatch(footer, later) == "it was made with other settings: model.rounding: unset -> nearest"
    monkeypatch.setitem(changes.FINGERPRINT_IF_ABSENT, "model.rounding", "nearest")  # type: ignore[attr-defined]
    assert _mismatch(footer, later) is None
    assert _mismatch(footer, dataclasses.replace(plan, fingerprint=plan.fingerprint | {"model.rounding": "up"}))


def _mismatch(footer: Footer, plan: Any) -> str | None:
    return explain_mismatch(footer, plan, plan.partitions[0], 0)


def test_commits_without_a_later_column_are_read(old_dataset: Bring, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    file = next((old_dataset("articles-killed").folder / "_embermill/commits").iterdir())
    later = pa.schema([*receipt_table.SCHEMA, pa.field("checksum", pa.string(), nullable=False)])
    monkeypatch.setitem(receipt_table.ADDED, "checksum", "none")
    with pq.ParquetFile(file) as parquet:
        table = receipt_table.read_receipts(parquet, later)
        assert table.schema.names == later.names and set(table["checksum"].to_pylist()) == {"none"} and table.num_rows > 0
        assert table.select(receipt_table.SCHEMA.names).equals(receipt_table.read_receipts(parquet))


class LaterModel(ModelConfig):
    rounding: Annotated[Literal["nearest", "up"], IfAbsent("nearest")] = "up"


class LaterJob(JobConfig):
    model: LaterModel


@pytest.fixture
def later_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration has a key more than the plans of 21abdb6, whose default is not what was done then."""
    for key, value in configuration._if_absent({"model": LaterModel}).items():
        monkeypatch.setitem(configuration.IF_ABSENT, key, value)


def test_a_dataset_is_resumed_although_its_plan_lacks_a_key(old_dataset: Bring, later_key: None) -> None:
    job = _later(old_dataset("notes-interrupted"))
    assert read_plan(open_folder(job.output.uri)).config["model.rounding"] == "nearest"  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=r"model\.rounding: nearest -> up"):
        run(job)
    summary = run(job.model_copy(update={"model": job.model.model_copy(update={"rounding": "nearest"})}))
    assert summary.committed_before > 0 and summary.rows_out == golden.ANSWERS["notes-finished"]["rows"]


def _later(old: OldDataset) -> LaterJob:
    import yaml

    return LaterJob.model_validate(yaml.safe_load(old.config.read_text()))


def test_every_key_that_plans_of_21abdb6_lack_says_what_it_means_there() -> None:
    root = json.loads((golden.STORED / "datasets/articles-finished" / ROOT).read_text())
    later = {key for key in set(KEYS) - set(root["config"]) if not key.startswith(changes.MAY_CHANGE)}
    stated = {key for key in configuration.IF_ABSENT if not key.startswith(changes.MAY_CHANGE)}
    assert later == stated, "say beside each of these keys what older datasets were made with: Annotated[type, IfAbsent(value)]"
    assert _without_added(RowSchema) - {"id_type"} <= set(root["rows"]) and _without_added(Output) <= set(root["outputs"][0])
    import pyarrow.parquet as pq

    stored = golden.STORED / "datasets/articles-finished"
    assert _without_added(Segment) <= set(pq.read_schema(stored / ROOT.rpartition("/")[0] / "segments.parquet").names)
    assert _without_added(Receipt) <= set(pq.read_schema(next((stored / "_embermill/commits").iterdir())).names)
    assert (stored / ROOT.rpartition("/")[0] / "inputs.parquet").exists()


def _without_added(record_type: type) -> set[str]:
    return {each.name for each in dataclasses.fields(record_type)} - set(added_fields(record_type))
