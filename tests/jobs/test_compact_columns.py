"""`output.vectors`: several columns of one pass, each in its form, with scales that the plan pins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import embermill
from embermill.jobs.commands.answers import show_verify
from embermill.jobs.commands.answers_run import show_run
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.plan.files import require_plan
from embermill.jobs.shard.contents import to_matrix
from embermill.jobs.storage import open_folder
from embermill.jobs.vectors.codec import encode, measure_scale
from tests.jobs.command_line import Answer, command, open_inline_pool, run
from tests.jobs.vectors.engines import DIM, vector

ENGINE = "python:tests.jobs.vectors.engines:SpreadEngine"
ODD = "python:tests.jobs.vectors.engines:OddEngine"
COLUMNS: list[dict[str, Any]] = [
    {"column": "embedding"}, {"column": "half", "dtype": "float16"}, {"column": "codes", "dtype": "int8"}, {"column": "bits", "dtype": "ubinary"},
    {"column": "short", "dtype": "int8", "dimensions": 8}, {"column": "st", "dtype": "int8", "int8_ranges": "sentence-transformers"},
]  # fmt: skip
TEXTS = [f"text {number}" for number in range(300)]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", open_inline_pool)
    (tmp_path / "corpus").mkdir()
    lines = [json.dumps({"id": f"r{number}", "text": text}) for number, text in enumerate(TEXTS)]
    for name, part in (("a", lines[:200]), ("b", lines[200:])):
        (tmp_path / f"corpus/{name}.jsonl").write_text("\n".join(part) + "\n")
    return tmp_path


def make(
    job: Path, output: str = "out", name: str = "run", model: dict[str, Any] | None = None, engine: str = ENGINE, partition_text_bytes: int = 100_000,
    **section: Any,
) -> Answer:  # fmt: skip
    corpus = {"files": [str(job / "corpus/*.jsonl")], "partition_text_bytes": partition_text_bytes}
    return run(job, engine=None, output=output, name=name, model={"engine": engine} | (model or {}), corpus=corpus, output_section=section)


def table_of(output: Path) -> Any:
    return embermill.open_dataset(str(output)).read_all().sort_by("id")


def test_each_column_is_what_the_codec_makes_of_the_same_pass(job: Path) -> None:
    plain, answer = make(job, "plain", partition_text_bytes=1000), make(job, vectors=COLUMNS, partition_text_bytes=1000)
    assert plain.code == 0 and answer.code == 0, answer.errors
    table, expected = table_of(answer.output), to_matrix(table_of(plain.output).column("embedding"))
    plan, manifest = require_plan(open_folder(str(answer.output))), read_manifest(open_folder(str(answer.output)))
    assert plan.fingerprint == require_plan(open_folder(str(plain.output))).fingerprint, "the stored form is no part of what makes the vectors"
    assert [form.column for form in plan.vectors] == [each["column"] for each in COLUMNS] and manifest is not None
    for form in plan.vectors:
        found = to_matrix(table.column(form.column))
        assert found.dtype == form.numpy_type and np.array_equal(found, encode(form, expected)[0]), form.column
    codes = plan.vectors[2]
    assert codes.scale == measure_scale(np.array([vector(text) for text in TEXTS])), "of a corpus that is smaller than the sample: of all of it"
    assert to_matrix(table.column("short")).shape == (300, 8) and plan.vectors[4].unit and plan.vectors[4].scale != codes.scale
    assert [(each["column"], each["dtype"], each["dim"], each.get("scale")) for each in manifest.root["outputs"]][2:4] == [
        ("codes", "int8", DIM, codes.scale), ("bits", "ubinary", DIM, None)
    ]  # fmt: skip
    for path in (answer.output / "data").glob("*.parquet"):
        told = json.loads(pq.read_metadata(path).metadata[b"embermill.vectors"])
        assert [(each["column"], each["packing"]) for each in told] == [(form.column, form.packing) for form in plan.vectors]
    clipped = sum(encode(form, expected)[1] for form in plan.vectors)
    assert answer["values_clipped"] == clipped == manifest.totals.values_clipped and "codes int8[16], scale" in show_run(json.loads(answer.stdout))
    assert "`codes` (16 numbers, int8, number = code * " in (answer.output / "README.md").read_text()
    assert command("verify", str(answer.output)).code == 0 and command("status", str(answer.output)).code == 0


def test_without_output_vectors_nothing_is_said_of_forms(job: Path) -> None:
    answer = make(job)
    root = json.loads((answer.output / "_embermill/plan/000001/root.json").read_text())
    assert "vectors" not in root and answer["vectors"] == [] and answer["values_clipped"] == 0
    path = next((answer.output / "data").glob("*.parquet"))
    assert not {b"embermill.vectors", b"embermill.values_clipped"} & {*pq.read_metadata(path).metadata}


@pytest.mark.long
def test_the_sample_and_so_every_byte_is_the_same_each_time(job: Path) -> None:
    one, other = make(job, "one", vectors=COLUMNS), make(job, "other", vectors=COLUMNS)
    assert differences(open_folder(str(one.output)), open_folder(str(other.output))) == []
    for copied in (one.output / "data").iterdir():
        copied.unlink()  # a run that was killed, say: the plan pins the scale, whatever the corpus holds by now
    for name in ("manifests", "commits", "keys"):
        for path in (one.output / f"_embermill/{name}").glob("*"):
            path.unlink()
    again = make(job, "one", vectors=COLUMNS)
    assert again.code == 0, again.errors
    assert differences(open_folder(str(one.output)), open_folder(str(other.output))) == []


@pytest.mark.parametrize(
    ("vectors", "change"),
    [
        ([{"column": "codes", "dtype": "float16"}], "output.vectors: codes: dtype: int8 -> float16"),
        ([{"column": "codes", "dtype": "int8", "scale": 0.5}], "output.vectors: codes: scale: "),
        pytest.param([{"column": "codes", "dtype": "int8", "dimensions": 8}], "output.vectors: codes: dimensions: 16 -> 8", marks=pytest.mark.long),
        pytest.param([{"column": "other", "dtype": "int8"}], "output.vectors: codes: int8[16], scale ", marks=pytest.mark.long),
        pytest.param([], "output.vectors: codes: int8[16], scale ", marks=pytest.mark.long),
    ],
)
def test_another_form_is_another_dataset(job: Path, vectors: list[dict[str, Any]], change: str) -> None:
    assert make(job, vectors=[{"column": "codes", "dtype": "int8"}]).code == 0
    answer = make(job, vectors=vectors)
    assert answer.code == 2 and change in answer.errors, answer.errors


@pytest.mark.parametrize(
    ("vectors", "model", "expected"),
    [
        ([{"column": "a", "dimensions": 17}], {}, "output.vectors: a: dimensions: 17: this model makes 16: expected a number from 1 to 16"),
        ([{"column": "a", "dimensions": 4}], {}, "output.vectors: a: dimensions: 4: this model's config.json lists matryoshka_dimensions 8: choose"),
        ([{"column": "a", "source": "b"}], {}, "output.vectors: a: source: the engine makes no column 'b': expected one of embedding"),
        ([{"column": "num_tokens"}], {}, "output.vectors: 'num_tokens' is the name of a column that the dataset makes itself"),
        ([{"column": "a"}, {"column": "a"}], {}, "output.vectors: two columns would be called 'a'"),
        ([{"column": "a", "dtype": "int4"}], {}, "output.vectors.0.dtype: expected 'float32', 'float16', 'int8' or 'ubinary', got 'int4' (str)"),
        ([{"column": "a", "dim": 3}], {}, "output.vectors.0.dim: expected no such key, got 3 (int)"),
        ([{"column": "a", "dtype": "ubinary", "dimensions": 12}], {}, "0.dimensions: ubinary packs eight dimensions a byte: expected a multiple of 8, got 12"),
        ([{"column": "a", "scale": 1.0}], {}, "vectors.0.scale: is for int8 alone, and the column 'a' is float32"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(job: Path, vectors: list[dict[str, Any]], model: dict[str, Any], expected: str) -> None:
    answer = make(job, vectors=vectors, model=model)
    assert answer.code == 2 and expected in answer.errors, answer.errors
    assert not (job / "out/_embermill/plan").exists()


def test_vectors_are_cut_anyway_where_that_is_said(job: Path) -> None:
    answer = make(job, vectors=[{"column": "a", "dimensions": 4}], model={"allow_truncation": True})
    assert answer.code == 0, answer.errors
    cut = np.array([vector(text) for text in TEXTS])[:, :4]
    expected = {f"r{number}": row / np.linalg.norm(row) for number, row in enumerate(cut)}
    for row in table_of(answer.output).to_pylist():
        assert np.allclose(row["a"], expected[row["id"]], atol=1e-6)


def test_each_column_is_searched_in_its_own_form(job: Path) -> None:
    output = make(job, vectors=COLUMNS).output
    for column in (None, *(each["column"] for each in COLUMNS)):
        found = command("search", str(output), "text 42", "-k", "1", *([] if column is None else ["--vector", column]))
        assert found.code == 0, found.errors
        hit = found["hits"][0]
        assert hit["columns"]["id"] == "r42" and hit["score"] == pytest.approx(1, abs=0.02) and "codes" not in hit["columns"], column
    refused = command("search", str(output), "x", "--vector", "nothing")
    assert refused.code == 2 and "--vector nothing: there is no such column of vectors: expected one of embedding, half, codes" in refused.errors


def test_verify_measures_what_each_column_finds(job: Path) -> None:
    output = make(job, vectors=COLUMNS).output
    answer = command("verify", str(output), "--recall", "50")
    assert answer.code == 0, answer.errors
    found = answer["recall"]
    recall = {each["column"]: each["recall"] for each in found["columns"]}
    assert found["queries"] == 50 and found["rows"] == 300 and found["against"] == "embedding" and recall["embedding"] == 1
    assert recall["half"] >= 0.99 and recall["codes"] > 0.9 and recall["short"] < recall["codes"] and recall["bits"] < recall["codes"]
    bits = next(each for each in found["columns"] if each["column"] == "bits")
    assert bits["bytes"] == 2 and recall["bits"] < bits["rescored"] <= 1 and bits["rescored_by"] == "codes"
    assert "recall@10 against embedding, 50 of 300 rows searched for:" in show_verify(json.loads(answer.stdout))
    assert by_hand(output, 50) == pytest.approx(recall["codes"], abs=1e-6)
    assert command("verify", str(output))["ok"] and "recall" not in json.loads(command("verify", str(output)).stdout)


def test_recall_and_search_are_the_same_of_portable_shards(job: Path) -> None:
    compact, portable = make(job, vectors=COLUMNS).output, make(job, "portable", vectors=COLUMNS, encoding="portable").output
    recalls, hits = list[Any](), list[Any]()
    for output in (compact, portable):
        recalls.append(command("verify", str(output), "--recall", "50")["recall"])
        found = [command("search", str(output), "text 42", "-k", "3", "--vector", each["column"])["hits"] for each in COLUMNS]
        hits.append([[(hit["columns"]["id"], hit["score"]) for hit in each] for each in found])
    assert recalls[0] == recalls[1] and hits[0] == hits[1]


def by_hand(output: Path, queries: int) -> float:
    """Of int8 codes, by one large product."""
    table = embermill.open_dataset(str(output)).read_all()
    chosen = np.sort(np.random.default_rng(10).choice(300, queries, replace=False))

    def nearest(column: str) -> np.ndarray:
        vectors = to_matrix(table.column(column)).astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = vectors[chosen] @ vectors.T
        scores[np.arange(queries), chosen] = -2
        return np.argsort(-scores, axis=1, kind="stable")[:, :10]

    exact, codes = nearest("embedding"), nearest("codes")
    return float(np.mean([len({*one} & {*other}) / 10 for one, other in zip(exact.tolist(), codes.tolist(), strict=True)]))


@pytest.mark.long
def test_rows_that_the_engine_fails_on_are_left_out_of_the_sample(job: Path) -> None:
    with (job / "corpus/b.jsonl").open("a") as file:
        file.write(json.dumps({"id": "bad", "text": "poison"}) + "\n")
    answer = make(job, engine="python:tests.jobs.vectors.engines:PoisonedEngine", vectors=[{"column": "codes", "dtype": "int8"}])
    assert answer.code == 0, answer.errors
    assert answer["rows_quarantined"] == 1 and answer["rows_out"] == 300


@pytest.mark.long
def test_an_engine_that_fails_on_everything_ends_the_run_before_there_is_a_plan(job: Path) -> None:
    answer = make(job, engine="python:tests.jobs.vectors.engines:BrokenEngine", vectors=[{"column": "codes", "dtype": "int8"}])
    assert answer.code == 3 and "the scale of int8 columns could not be measured on a sample of the corpus" in answer.errors, answer.errors
    assert not (job / "out/_embermill/plan").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("wrong", "advised", "right"),
    [
        ({"vectors": [{"column": "a"}, {"column": "a"}]}, "give them different names", {"vectors": [{"column": "a"}, {"column": "b"}]}),
        (
            {"vectors": [{"column": "a", "dtype": "int8", "scale": 0.1, "int8_ranges": "sentence-transformers"}]}, "leave one of the two out",
            {"vectors": [{"column": "a", "dtype": "int8", "scale": 0.1}]},
        ),
        ({"vectors": [{"column": "version"}]}, "choose another name for the vectors", {"vectors": [{"column": "vector"}]}),
        ({"vectors": [{"column": "a", "dimensions": 4}]}, "choose one of them, or 16; ", {"vectors": [{"column": "a", "dimensions": 8}]}),
        (
            {"vectors": [{"column": "a", "dimensions": 4}]}, "model.allow_truncation: true cuts",
            {"vectors": [{"column": "a", "dimensions": 4}], "model": {"allow_truncation": True}},
        ),
        (
            {"vectors": [{"column": "a", "dimensions": 8}], "engine": ODD}, "or set model.allow_truncation: true and measure",
            {"vectors": [{"column": "a", "dimensions": 8}], "engine": ODD, "model": {"allow_truncation": True}},
        ),
        (
            {"vectors": [{"column": "a", "dtype": "ubinary"}], "engine": ODD, "model": {"allow_truncation": True}}, "set dimensions: 8, or choose int8",
            {"vectors": [{"column": "a", "dtype": "ubinary", "dimensions": 8}], "engine": ODD, "model": {"allow_truncation": True}},
        ),
    ],
)  # fmt: skip
def test_what_is_advised_of_a_column_helps(job: Path, wrong: dict[str, Any], advised: str, right: dict[str, Any]) -> None:
    refused = make(job, **wrong)
    assert refused.code == 2 and advised in refused.errors, refused.errors
    answer = make(job, **right)
    assert answer.code == 0, answer.errors


def test_a_scale_that_does_not_fit_is_told_of(job: Path, caplog: pytest.LogCaptureFixture) -> None:
    answer = make(job, vectors=[{"column": "embedding"}, {"column": "codes", "dtype": "int8", "scale": 0.001}])
    assert answer.code == 0 and answer["share_clipped"] > 0.001
    assert "were too large for their codes and clipped" in caplog.text + answer.errors
    found = command("verify", str(answer.output), "--recall", "1000")
    assert found.code == 0 and found["recall"]["columns"][1]["recall"] < 1


@pytest.mark.long
def test_recall_is_measured_on_a_finished_dataset(job: Path) -> None:
    with (job / "corpus/b.jsonl").open("a") as file:
        file.write("{\n" * 200)
    assert make(job, vectors=COLUMNS).code == 3
    refused = command("verify", str(job / "out"), "--recall", "10")
    assert refused.code == 3 and "200 of 500 rows were quarantined" in refused.errors and '"recall"' not in refused.stdout, refused.errors
    settings = {"vectors": COLUMNS}
    corpus = {"files": [str(job / "corpus/*.jsonl")], "partition_text_bytes": 100_000, "max_quarantined": 300}
    assert run(job, engine=None, model={"engine": ENGINE}, corpus=corpus, output_section=settings).code == 0
    assert command("verify", str(job / "out"), "--recall", "10").code == 0


@pytest.mark.long
def test_each_column_is_exported_and_checked_in_its_own_form(job: Path) -> None:
    output = make(job, vectors=COLUMNS).output
    table = embermill.open_dataset(str(output)).read_all()
    for column in ("embedding", "half", "codes", "bits"):
        done = command("export", str(output), "--format", "npy", "--out", str(job / f"npy-{column}"), "--vector", column)
        assert done.code == 0, done.errors
        found, expected = np.load(job / f"npy-{column}/embeddings.npy"), to_matrix(table.column(column))
        assert found.dtype == expected.dtype and np.array_equal(found, expected)
    assert command("export", str(output), "--format", "parquet", "--out", str(job / "plain")).code == 0
    plain = pq.read_table(next((job / "plain").rglob("*.parquet")))
    assert all(plain.column(each["column"]).to_pylist() == table.column(each["column"]).to_pylist() for each in COLUMNS)
    refused = command("export", str(output), "--format", "fbin", "--out", str(job / "fbin"), "--vector", "codes")
    assert refused.code == 2 and "this format holds float32, the column 'codes' is int8: choose another with --vector" in refused.errors
    answer = command("check", str(output), "--for", "milvus", "--vector", "bits")
    assert answer.code == 0 and (answer["column"], answer["dtype"], answer["dimensions"]) == ("bits", "ubinary", 16)
    assert command("check", str(output), "--for", "pinecone", "--vector", "codes").code == 3


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["compact", "portable"])
def test_other_readers_read_every_form(job: Path, encoding: str) -> None:
    import duckdb
    import polars

    output = make(job, vectors=COLUMNS, encoding=encoding).output
    expected = {row["id"]: row for row in table_of(output).to_pylist()}
    pattern = f"{output}/data/*.parquet"
    read: Any = duckdb.sql(f"SELECT * FROM '{pattern}'")
    rows = {"duckdb": read.to_arrow_table().to_pylist(), "polars": polars.read_parquet(pattern).to_dicts()}
    for reader, found in rows.items():
        assert len(found) == len(expected), reader
        for row in found:
            assert all([*row[each["column"]]] == expected[row["id"]][each["column"]] for each in COLUMNS), reader
