"""Compact columns through the life of a dataset: a sync keeps scales and copies codes; what other datasets hold is taken in its form, or encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.versions import UPSERTS, read_version
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.errors import UsageError
from embermill.jobs.maintenance.redrive import redrive
from embermill.jobs.maintenance.repair import repair
from embermill.jobs.plan.files import Plan, require_plan
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import SyncOptions, sync
from embermill.jobs.vectors.codec import encode
from embermill.jobs.versions.compact import compact
from embermill.jobs.versions.making import make_version
from tests.jobs.sync.corpus import Corpus, TellingEngine, live_rows, row, settings_of
from tests.jobs.vectors.engines import vector

ENGINE = {"engine": "python:tests.jobs.vectors.engines:SpreadEngine"}
COMPACT: list[dict[str, Any]] = [{"column": "codes", "dtype": "int8"}, {"column": "bits", "dtype": "ubinary"}]
ALL: list[dict[str, Any]] = [{"column": "embedding"}, {"column": "half", "dtype": "float16"}, *COMPACT]
ROWS = [row(f"r{n}", f"a text of number {n}") for n in range(40)]


def configure(root: Path, output: str = "out", vectors: list[dict[str, Any]] = COMPACT) -> JobConfig:
    settings = settings_of(root, output, model=ENGINE)
    settings["output"]["vectors"] = vectors
    settings["corpus"]["partition_text_bytes"] = 100_000
    return JobConfig.model_validate(settings)


def plan_of(root: Path, output: str = "out") -> Plan:
    return require_plan(open_folder(str(root / output)))


def require_forms(root: Path, texts: dict[str, str], output: str = "out") -> None:
    """Every row has what its text's vector is encoded to, by the scale of the first plan."""
    rows = live_rows(str(root / output))
    assert rows.keys() == texts.keys()
    for form in plan_of(root, output).stored:
        expected = encode(form, np.array([vector(texts[identity]) for identity in rows]))[0]
        assert np.array_equal(np.array([each[form.column] for each in rows.values()], form.numpy_type), expected), form.column
    verify(open_folder(str(root / output)))


def texts_of(corpus: Corpus) -> dict[str, str]:
    return {identity: each["text"] for identity, each in corpus.rows.items()}


@pytest.mark.parametrize("vectors", [COMPACT, pytest.param(ALL, marks=pytest.mark.long)], ids=["compact", "all"])
def test_a_sync_keeps_scales_copies_codes_and_encodes_what_is_new(tmp_path: Path, corpus: Corpus, vectors: list[dict[str, Any]]) -> None:
    corpus.write("a.jsonl", ROWS)
    run(configure(tmp_path, vectors=vectors))
    scale = {form.column: form.scale for form in plan_of(tmp_path).vectors}
    TellingEngine.taken()
    edited = [row("r0", "quite another text"), row("r1", ROWS[1]["text"], "fr"), *ROWS[2:], row("new", "a new text"), row("twin", ROWS[5]["text"])]
    corpus.write("a.jsonl", edited)
    found = sync(configure(tmp_path, vectors=vectors))
    clipped = sum(encode(form, np.array([vector("a new text"), vector("quite another text")]))[1] for form in plan_of(tmp_path).vectors)
    assert (found.texts_embedded, found.vectors_copied, found.values_clipped) == (2, 2, clipped)
    assert TellingEngine.taken() == ["a new text", "quite another text"]
    require_forms(tmp_path, texts_of(corpus))
    assert {form.column: form.scale for form in plan_of(tmp_path).vectors} == scale
    uri = str(tmp_path / "out")
    assert make_version(uri, "compact", compact) is not None
    require_forms(tmp_path, texts_of(corpus))
    name = next(file.name for file in read_version(open_folder(uri), 2).of_kind(UPSERTS))
    assert b"embermill.vectors" in pq.read_metadata(tmp_path / "out" / name).metadata
    before = (tmp_path / "out" / name).read_bytes()
    (tmp_path / "out" / name).write_bytes(before[:-9])
    repair(uri)
    assert (tmp_path / "out" / name).read_bytes() == before


@pytest.mark.long
def test_codes_that_are_copied_are_not_encoded_again(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.write("a.jsonl", ROWS)
    run(configure(tmp_path))
    corpus.write("a.jsonl", [{**each, "lang": "fr"} for each in ROWS])

    def never(*arguments: Any) -> Any:
        raise AssertionError("encoded again")

    monkeypatch.setattr("embermill.jobs.shard.answer.encode", never)
    assert sync(configure(tmp_path)).vectors_copied == len(ROWS)
    monkeypatch.undo()
    require_forms(tmp_path, texts_of(corpus))


def reuse(tmp_path: Path, theirs: list[dict[str, Any]], mine: list[dict[str, Any]]) -> list[str]:
    """What the engine is given where another dataset holds all texts but one."""
    elsewhere = Corpus(tmp_path / "elsewhere/corpus")
    elsewhere.write("a.jsonl", ROWS)
    run(configure(tmp_path / "elsewhere", vectors=theirs))
    here = Corpus(tmp_path / "corpus")
    here.write("a.jsonl", ROWS[:1])
    run(configure(tmp_path, vectors=mine))
    TellingEngine.taken()
    here.write("a.jsonl", [*ROWS, row("new", "only here")])
    sync(configure(tmp_path, vectors=mine), SyncOptions(reuse=(str(tmp_path / "elsewhere/out"),)))
    require_forms(tmp_path, texts_of(here))
    return TellingEngine.taken()


SCALED: list[dict[str, Any]] = [{"column": "codes", "dtype": "int8", "scale": 0.004}, {"column": "bits", "dtype": "ubinary"}]
REUSED: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "float32 there, by default": ([], COMPACT),
    "float32 there, under another name": ([{"column": "whole"}], COMPACT),
    "float32 there, and other forms": ([{"column": "codes"}, {"column": "bits", "dtype": "float16"}], COMPACT),
    "the same form": (SCALED, SCALED),
    "a form less than there": (SCALED, SCALED[:1]),
    "float32 on both sides": ([], []),
}


QUICK = ("float32 there, under another name", "the same form")


@pytest.mark.parametrize("case", [case if case in QUICK else pytest.param(case, marks=pytest.mark.long) for case in REUSED])
def test_reuse_takes_float32_or_the_same_form(tmp_path: Path, case: str) -> None:
    assert reuse(tmp_path, *REUSED[case]) == ["only here"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("theirs", "mine", "named"),
    [
        (SCALED, COMPACT[:1], "codes: scale: 0.004 -> "),
        ([{"column": "codes", "dtype": "float16"}], SCALED[:1], "codes: dtype: float16 -> int8"),
        (SCALED, [], "embedding: not stored -> float32[16]"),
        ([{"column": "codes", "dimensions": 8}], SCALED[:1], "codes: dimensions: 8 -> 16"),
    ],
)
def test_reuse_refuses_another_form_and_names_it(tmp_path: Path, theirs: list[dict[str, Any]], mine: list[dict[str, Any]], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        reuse(tmp_path, theirs, mine)
    assert named in str(caught.value) and "name a dataset with a column of float32, or with the same output.vectors" in str(caught.value)


def given(path: Path) -> str:
    vectors = pa.array([vector(each["text"]) for each in ROWS], pa.list_(pa.float32(), 16))
    pq.write_table(pa.table({"id": [each["id"] for each in ROWS], "text": [each["text"] for each in ROWS], "embedding": vectors}), path)
    return str(path)


def test_vectors_that_are_imported_are_encoded(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.difference.importing.SAMPLED_TEXTS", 5)
    corpus.write("a.jsonl", ROWS)
    found = sync(configure(tmp_path), SyncOptions(imports=(given(tmp_path / "given.parquet"),)))
    assert found.texts_embedded == 5 and found.vectors_copied == 35 and found.imported is not None and found.imported["minimum"] > 0.999
    require_forms(tmp_path, texts_of(corpus))


@pytest.mark.long
def test_bits_alone_cannot_be_compared_with_what_is_imported(tmp_path: Path, corpus: Corpus) -> None:
    corpus.write("a.jsonl", ROWS)
    with pytest.raises(UsageError, match="the dataset keeps no column of float32, float16 or int8"):
        sync(configure(tmp_path, vectors=COMPACT[1:]), SyncOptions(imports=(given(tmp_path / "given.parquet"),)))


def test_a_redrive_keeps_the_codes_of_good_rows(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.write("a.jsonl", ROWS[:20])
    corpus.write("b.jsonl", ROWS[20:])
    config = configure(tmp_path)
    broken = tmp_path / "corpus/b.jsonl"
    kept = broken.read_text()
    broken.write_text(kept + "{\n" * 30)
    with pytest.raises(Exception, match="max_quarantined"):
        run(config)
    TellingEngine.taken()
    broken.write_text(kept.replace(ROWS[39]["text"], "another last one"))
    redrive(str(tmp_path / "out"))
    assert TellingEngine.taken() == ["another last one"]
    require_forms(tmp_path, texts_of(corpus) | {"r39": "another last one"})
