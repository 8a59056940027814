"""`embermill check`: each planted violation is found, by name, and there is none in the demo corpus."""

from __future__ import annotations

import contextlib
import io
import json
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs import cli
from embermill.jobs.index.limits import TARGETS
from infra.demo import stdlib_corpus
from tests.jobs.command_line import Answer, command, open_inline_pool, run

ENGINE = "python:tests.jobs.index.engines:WideEngine"


def make_dataset(folder: Path, table: pa.Table, *, keep: list[Any] | None = None, dimensions: int = 4, texts: tuple[str, ...] = ("text",)) -> Path:
    (folder / "corpus").mkdir(parents=True)
    pq.write_table(table, folder / "corpus/a.parquet")
    corpus = {"files": [str(folder / "corpus/*.parquet")], "text_columns": [*texts], "keep_columns": keep or []}
    with mock.patch("embermill.jobs.run.open_pool", open_inline_pool):
        answer = run(folder, engine=None, model={"engine": ENGINE, "dimensions": dimensions}, corpus=corpus)
    assert answer.code == 0, answer.errors
    return answer.output


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,000 of the demo's ids and kept columns, for the sake of time; 384 numbers a vector, of no meaning."""
    folder = tmp_path_factory.mktemp("demo")
    rows = [row._asdict() for row in islice(stdlib_corpus.rows(Path(sysconfig.get_path("stdlib"))), 2_000)]
    return make_dataset(folder, pa.Table.from_pylist(rows), keep=["title", "module"], dimensions=384, texts=("title", "body"))


@pytest.mark.parametrize("target", TARGETS)
def test_the_demo_fits_every_target(demo: Path, target: str) -> None:
    answer = command("check", str(demo), "--for", target)
    assert answer.code == 0, answer.errors
    assert answer["ok"] and answer["violations"] == [] and answer["rows"] == 2_000 and answer["limits"]
    for found in answer["converted"]:
        assert found["remedy"] and found["count"] <= answer["rows"]


LONG, NON_ASCII, ACCENTED = "L" * 600, "naïve", "é" * 300  # ids; of the last one 600 bytes
VAST = "V" * 1_100
ROWS: list[dict[str, Any]] = [
    {"id": "good", "text": "a", "title": "fine"},
    {"id": LONG, "text": "bb"},
    {"id": NON_ASCII, "text": "c"},
    {"id": ACCENTED, "text": "d"},
    {"id": VAST, "text": "e"},
    {"id": "heavy", "text": "f", "title": "t" * 50_000},
    {"id": "huge", "text": "g", "title": "t" * 70_000},
    {"id": "nul", "text": "h", "title": "a\0b"},
    {"id": "zero", "text": "zero"},
    {"id": "vast", "text": "i", "title": "t" * 2_200_000},
]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """By what is wrong with them: rows, names and types of columns, the number of columns, dimensions."""
    make = tmp_path_factory.mktemp
    plain = pa.Table.from_pylist([{"id": "a", "text": "b"}])
    odd = plain.append_column("x", pa.array([{"deep": 1}])).append_column("y", pa.array([1]))
    many = plain
    for number in range(70):
        many = many.append_column(f"c{number}", pa.array([number]))
    yield {
        "rows": make_dataset(make("rows"), pa.Table.from_pylist(ROWS, pa.schema([(name, pa.string()) for name in ("id", "text", "title")])), keep=["title"]),
        "columns": make_dataset(make("columns"), odd, keep=["x", "y"]),
        "many": make_dataset(make("many"), many, keep=[f"c{number}" for number in range(70)]),
        "wide": make_dataset(make("wide"), plain, dimensions=33_000),
    }


# dataset, target, further arguments, rule, what is named
PLANTED = [
    ("rows", "pinecone", [], "id_characters", [f"'{LONG[:60]}…' (600 characters)", f"'{VAST[:60]}…' (1,100 characters)"]),
    ("rows", "pinecone", [], "id_ascii", ["'naïve'", f"'{ACCENTED[:60]}…'"]),
    ("rows", "pinecone", [], "metadata_bytes", ["'heavy' (50,012 bytes)", "'huge' (70,012 bytes)", "'vast' (2,200,012 bytes)"]),
    ("rows", "pinecone-jsonl", [], "batch_bytes", ["'vast' (about 2,200,104 bytes)"]),
    ("rows", "elasticsearch", [], "id_bytes", [f"'{LONG[:60]}…' (600 bytes)", f"'{ACCENTED[:60]}…' (600 bytes)", f"'{VAST[:60]}…' (1,100 bytes)"]),
    ("rows", "elasticsearch", [], "nonzero_vectors", ["'zero'"]),
    ("rows", "opensearch", [], "id_bytes", [f"'{LONG[:60]}…' (600 bytes)", f"'{ACCENTED[:60]}…' (600 bytes)", f"'{VAST[:60]}…' (1,100 bytes)"]),
    ("rows", "s3vectors", [], "id_characters", [f"'{VAST[:60]}…' (1,100 characters)"]),
    ("rows", "s3vectors", [], "metadata_bytes", ["'heavy' (50,012 bytes)", "'huge' (70,012 bytes)", "'vast' (2,200,012 bytes)"]),
    ("rows", "milvus-import", [], "string_bytes", ["'huge' (70,000 bytes)", "'vast' (2,200,000 bytes)"]),
    ("rows", "postgresql", [], "text_without_nul", ["'nul'"]),
    ("columns", "pinecone", [], "metadata_types", ["x: struct<deep: int64>"]),
    ("columns", "weaviate", ["--map", "x=deep-one"], "field_names", ["deep-one"]),
    ("columns", "weaviate", ["--map", "y=_id"], "reserved_fields", ["_id"]),
    ("columns", "azure", ["--map", "y=_y"], "field_names", ["_y"]),
    ("columns", "milvus", ["--map", "y=a b"], "field_names", ["a b"]),
    ("many", "milvus", [], "fields", ["70 columns"]),
    ("many", "s3vectors", [], "fields", ["70 columns"]),
    ("wide", "pinecone", [], "dimensions", ["embedding: 33,000 dimensions"]),
    ("wide", "milvus-import", [], "dimensions", ["embedding: 33,000 dimensions"]),
    ("wide", "elasticsearch", [], "dimensions", ["embedding: 33,000 dimensions"]),
    ("wide", "opensearch", [], "dimensions", ["embedding: 33,000 dimensions"]),
    ("wide", "s3vectors", [], "dimensions", ["embedding: 33,000 dimensions"]),
]


@pytest.mark.parametrize(("dataset", "target", "arguments", "rule", "named"), PLANTED)
def test_a_planted_violation_is_found(planted: dict[str, Path], dataset: str, target: str, arguments: list[str], rule: str, named: list[str]) -> None:
    answer = command("check", str(planted[dataset]), "--for", target, *arguments)
    assert answer.code == 3
    found = {each["rule"]: each for each in answer["violations"]}
    assert found[rule]["named"] == named and found[rule]["count"] == len(named) and not answer["ok"]
    assert "'good'" not in answer["error"]["message"] and named[0] in answer["error"]["message"]


ALSO_FOUND = {("rows", "pinecone-jsonl"): {"id_characters", "id_ascii", "metadata_bytes"}}  # planted against Pinecone's other import


def test_nothing_else_is_found(planted: dict[str, Path]) -> None:
    """Of the rules that were planted against, each target reports those alone."""
    for dataset, target in {(row[0], row[1]) for row in PLANTED if not row[2]}:
        answer = command("check", str(planted[dataset]), "--for", target)
        expected = {row[3] for row in PLANTED if row[:2] == (dataset, target)} | ALSO_FOUND.get((dataset, target), set())
        assert {found["rule"] for found in answer["violations"]} == expected, (dataset, target)


def test_words(planted: dict[str, Path], demo: Path) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.main(["check", str(demo), "--for", "s3vectors"]) == 0
    text = out.getvalue()
    assert text.startswith(f"Amazon S3 Vectors takes {demo}, version 1: ") and "; unconfirmed)" in text
    assert "\nloading it takes at least 4 calls of up to 500 rows" in text and "\nat the published rate that takes 0.8 s or more" in text
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        assert cli.main(["check", str(planted["rows"]), "--for", "pinecone"]) == 3
    assert error.getvalue().startswith(f"embermill: Pinecone, Parquet import would not take {planted['rows']}, version 1:\n  ids of at most 512 characters (")


def test_estimates(demo: Path) -> None:
    answer = command("check", str(demo), "--for", "s3vectors")
    assert answer["estimate"]["rows_per_call"] == 500 and answer["estimate"]["calls"] == -(-answer["rows"] // 500)
    assert answer["estimate"]["seconds"] == answer["rows"] / 2_500 and 8_448 < answer["estimate"]["row_bytes"] < 9_000
    assert command("check", str(demo), "--for", "pinecone-jsonl")["estimate"]["rows_per_call"] < 250, "2 MB a call"
    told = command("check", str(demo), "--for", "vespa")["estimate"]
    assert (told["rows_per_call"], told["calls"], told["seconds"]) == (None, None, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--for", "pinecon"], "unknown target 'pinecon': did you mean 'pinecone'?"),
        (["--for", "vespa", "--vector", "other"], "--vector other: there is no such column of vectors: expected one of embedding"),
        (["--for", "vespa", "--map", "lang=language"], "--map lang=language: there is no column 'lang' to rename: expected one of id, embedding, ti"),
        (["--for", "vespa", "--map", "title=module"], "title and module would both be called 'module'"),
        (["--for", "vespa", "--map", "title"], "expected NAME=OTHER, got title"),
        (["--for", "vespa", "--version", "2"], "there is no version 2"),
        ([], "the following arguments are required: --for"),
    ],
)
def test_what_is_refused(demo: Path, arguments: list[str], message: str) -> None:
    answer: Answer = command("check", str(demo), *arguments)
    assert answer.code == 2 and message in json.loads(answer.stdout)["error"]["message"]
