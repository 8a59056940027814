"""Each format read back: ids, vectors and kept columns are the dataset's; a kill at any point changes nothing in the end."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow.parquet as pq
import pytest

from embermill.jobs import cli
from embermill.jobs.dataset.views.opening import open_version
from embermill.jobs.export import FORMATS
from embermill.jobs.export.exporting import find_format
from embermill.jobs.export.source import Source
from embermill.jobs.export.state import LOCK, NAME
from embermill.jobs.index.columns import index_columns
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import command
from tests.jobs.export.exported import KEPT, Killed, contents, export, killed_at, make_dataset, rows_of, small_pieces

FILES = ("pinecone", "pinecone-jsonl", "milvus", "elasticsearch", "opensearch", "vespa", "npy", "fbin", "hf", "parquet")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("exported"))


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with small_pieces(), mock.patch("embermill.jobs.export.formats.matrix.PIECE_ROWS", 7), mock.patch("embermill.jobs.export.source.PART_ROWS", 3):
        yield


def expected_metadata(row: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it."""
    found = {name: row[name] for name in KEPT if row[name] is not None and not (isinstance(row[name], float) and math.isnan(row[name]))}
    return found | {"when": row["when"].strftime("%Y-%m-%dT%H:%M:%S.000000Z")}


def lines_of(out: Path, suffix: str) -> list[Any]:
    """Every line is one JSON value with no key twice and no NaN, and ends in a line end."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), pairs
        return dict(pairs)

    def never(word: str) -> Any:
        raise AssertionError(word)

    found: list[Any] = []
    for path in sorted(out.glob(f"*.{suffix}")):
        text = path.read_bytes().decode()
        assert text.endswith("\n") and "\r" not in text
        found += [json.loads(line, object_pairs_hook=once, parse_constant=never) for line in text.split("\n")[:-1]]
    return found


def vector(values: list[float]) -> bytes:
    return np.array(values, np.float32).tobytes()


def test_the_version_has_edits_and_deletes(dataset: Path) -> None:
    assert len(rows_of(dataset)) == 58 and len(rows_of(dataset, 1)) == 60 and {row["version"] for row in rows_of(dataset)} == {1, 2}
    assert (*FORMATS,)[: len(FILES)] == FILES


def test_pinecone(dataset: Path, tmp_path: Path) -> None:
    answer = export(dataset, "pinecone", tmp_path / "x")
    assert (answer["rows"], answer["version"], answer["resumed_rows"]) == (58, 2, 0)
    files = sorted((tmp_path / "x/__default__").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert len(files) > 3 and pq.read_schema(files[0]).names == ["id", "values", "metadata"]
    assert [(row["id"], vector(row["values"]), json.loads(row["metadata"])) for row in rows] == [
        (row["id"], vector(row["embedding"]), expected_metadata(row)) for row in rows_of(dataset)
    ]
    export(dataset, "pinecone", tmp_path / "y", "--option", "namespace=docs", "--version", "1", "--map", "lang=language")
    (first, *_) = sorted((tmp_path / "y/docs").glob("*.parquet"))
    assert "language" in json.loads(pq.read_table(first).to_pylist()[1]["metadata"])


def test_pinecone_jsonl(dataset: Path, tmp_path: Path) -> None:
    export(dataset, "pinecone-jsonl", tmp_path / "x")
    found = [(line["id"], vector(line["values"]), line["metadata"]) for line in lines_of(tmp_path / "x", "jsonl")]
    assert found == [(row["id"], vector(row["embedding"]), expected_metadata(row)) for row in rows_of(dataset)]


@pytest.mark.parametrize(("name", "coded"), [("elasticsearch", False), ("elasticsearch", True), ("opensearch", False)])
def test_bulk(dataset: Path, tmp_path: Path, name: str, coded: bool) -> None:
    export(dataset, name, tmp_path / "x", "--option", "index=docs", *(["--option", "base64=true"] if coded else []))
    lines = lines_of(tmp_path / "x", "ndjson")
    rows = rows_of(dataset)
    assert [line["index"] for line in lines[::2]] == [
        {"_index": "docs", "_id": row["id"], "version": row["version"], "version_type": "external"} for row in rows
    ]
    for document, row in zip(lines[1::2], rows, strict=True):
        values = document.pop("embedding")
        found = np.frombuffer(base64.b64decode(values, validate=True), ">f4") if coded else np.array(values, np.float32)
        assert found.tolist() == row["embedding"] and document == expected_metadata(row)
    mapping = json.loads((tmp_path / "x/_mapping.json").read_text())["mappings"]["properties"]
    assert mapping["embedding"].items() >= ({"dims": 8} if name == "elasticsearch" else {"dimension": 8}).items()
    kinds = {key: field["type"] for key, field in mapping.items() if key != "embedding"}
    assert kinds == {"lang": "keyword", "size": "long", "score": "double", "good": "boolean", "tags": "keyword", "when": "date"}


def test_vespa(dataset: Path, tmp_path: Path) -> None:
    export(dataset, "vespa", tmp_path / "x", "--option", "type=article")
    for line, row in zip(lines_of(tmp_path / "x", "jsonl"), rows_of(dataset), strict=True):
        assert line["put"] == f"id:embermill:article::{row['id']}"
        values = line["fields"].pop("embedding")["values"]
        assert np.frombuffer(bytes.fromhex(values), ">f4").tolist() == row["embedding"] and line["fields"] == expected_metadata(row)


def test_milvus(dataset: Path, tmp_path: Path) -> None:
    export(dataset, "milvus", tmp_path / "x")
    files = sorted((tmp_path / "x").glob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    for row, given in zip(rows, rows_of(dataset), strict=True):
        assert vector(row.pop("embedding")) == vector(given["embedding"]) and row.pop("when") == expected_metadata(given)["when"]
        score, same = row.pop("score"), given["score"]
        assert row == {name: given[name] for name in row} and (score == same or (math.isnan(score) and math.isnan(same)))
    fields = json.loads((tmp_path / "x/_schema.json").read_text())["fields"]
    assert [field["name"] for field in fields] == pq.read_schema(files[0]).names, "an import refuses a column that the collection lacks"
    assert {field["name"]: field["type"] for field in fields} == {
        "id": "VARCHAR", "embedding": "FLOAT_VECTOR", "lang": "VARCHAR", "size": "INT64", "score": "DOUBLE", "good": "BOOL",
        "tags": "ARRAY of VARCHAR", "when": "VARCHAR",
    }  # fmt: skip
    assert pq.read_metadata(files[0]).metadata is None, "no Arrow schema, of which old servers read that a list has a fixed size"


def test_npy(dataset: Path, tmp_path: Path) -> None:
    answer = export(dataset, "npy", tmp_path / "x")
    rows = rows_of(dataset)
    assert np.load(tmp_path / "x/embeddings.npy", mmap_mode="r").tolist() == [row["embedding"] for row in rows]
    assert pq.read_table(tmp_path / "x/ids.parquet").to_pylist() == [{"row": number, "id": row["id"]} for number, row in enumerate(rows)]
    assert answer["beside"] == ["ids.parquet"]


def test_fbin(dataset: Path, tmp_path: Path) -> None:
    export(dataset, "fbin", tmp_path / "x")
    data, rows = (tmp_path / "x/embeddings.fbin").read_bytes(), rows_of(dataset)
    assert struct.unpack("<II", data[:8]) == (58, 8)
    assert np.frombuffer(data[8:], "<f4").reshape(58, 8).tolist() == [row["embedding"] for row in rows]
    assert pq.read_table(tmp_path / "x/ids.parquet").column("id").to_pylist() == [row["id"] for row in rows]


@pytest.mark.parametrize("name", ["parquet", "hf"])
def test_whole_rows(dataset: Path, tmp_path: Path, name: str) -> None:
    export(dataset, name, tmp_path / "x")
    files = sorted((tmp_path / "x").rglob("*.parquet"))
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert repr(rows) == repr(rows_of(dataset)), "as text, since a NaN is no NaN"
    assert (b"ARROW:schema" in pq.read_metadata(files[0]).metadata) is (name == "hf")
    if name == "hf":
        card = (tmp_path / "x/README.md").read_text()
        assert "path: data/*.parquet" in card and "58 rows with embeddings by `python:tests.jobs.word_engines:WordEngine`" in card and "n<1K" in card


QUICK_KILLS = (("milvus", True), ("npy", True), ("vespa", False), ("hf", False))  # one of each way of writing; `make test-long` has the others
OTHER_KILLS = [pytest.param(name, before, marks=pytest.mark.long) for name in FILES for before in (True, False) if (name, before) not in QUICK_KILLS]


@pytest.mark.parametrize(("name", "before"), [*QUICK_KILLS, *OTHER_KILLS])
def test_killed_at_any_point_and_run_again(dataset: Path, tmp_path: Path, name: str, before: bool) -> None:
    """Each replacing of a file is where it may stop, and between two of them: what is there in the end are the bytes of an undisturbed export."""
    export(dataset, name, tmp_path / "whole")
    expected, count, out = contents(tmp_path / "whole"), 0, tmp_path / "killed"
    assert len(expected) >= 3 and not any(file.endswith(".tmp") for file in expected)
    for count in range(1, 200):
        with killed_at(Path, "replace", count, before=before) as happened, contextlib.suppress(Killed):
            export(dataset, name, out)
        if not happened():
            break
    again = export(dataset, name, out)
    assert again["resumed_rows"] == 58 and contents(out) == expected and count > 1


def test_killed_again_and_again(dataset: Path, tmp_path: Path) -> None:
    """Two replacings a call, and then the end: every call goes on where the last one was killed."""
    name = "milvus"
    export(dataset, name, tmp_path / "whole")
    for _ in range(200):
        with killed_at(Path, "replace", 3, before=True) as happened, contextlib.suppress(Killed):
            answer = export(dataset, name, tmp_path / "x")
        if not happened():
            break
    assert answer["resumed_rows"] > 0 and contents(tmp_path / "x") == contents(tmp_path / "whole")


def test_an_integer_id_and_no_kept_columns(tmp_path: Path) -> None:
    import pyarrow as pa

    from tests.jobs.index.test_check import make_dataset as make

    output = make(tmp_path / "d", pa.table({"id": pa.array([7, 2**40], pa.int64()), "text": ["a", "bb"]}))
    for name in FILES:
        export(output, name, tmp_path / name)
    assert pq.read_table(tmp_path / "pinecone/__default__/part-000000.parquet").to_pylist()[1]["id"] == str(2**40)
    assert pq.read_table(tmp_path / "pinecone/__default__/part-000000.parquet").column("metadata").null_count == 2
    assert pq.read_table(tmp_path / "milvus/part-000000.parquet").column("id").to_pylist() == [7, 2**40]
    assert [sorted(line) for line in lines_of(tmp_path / "pinecone-jsonl", "jsonl")] == [["id", "values"]] * 2
    assert lines_of(tmp_path / "elasticsearch", "ndjson")[2]["index"]["_id"] == str(2**40)


def test_words(dataset: Path, tmp_path: Path) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        for _ in range(2):
            assert cli.main(["export", str(dataset), "--format", "vespa", "--out", str(tmp_path / "x")]) == 0
    first, second = out.getvalue().splitlines()
    assert first == f"{tmp_path}/x: 58 rows of {dataset}, version 2, as vespa" and second == f"{first}, 58 of them by an earlier call"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "elastic"], "--format elastic: did you mean elasticsearch?"),
        (["--format", "xyz"], "--format xyz: expected one of pinecone, "),
        (["--format", "vespa", "--option", "index=a"], "--option index: vespa has no such option: expected namespace, type"),
        (["--format", "npy", "--option", "index=a"], "--option index: npy has no such option: it has none"),
        (["--format", "elasticsearch", "--option", "base64=yes"], "--option base64=yes: expected true or false"),
        (["--format", "vespa", "--option", "type=a b"], "--option type=a b: expected letters, digits"),
        (["--format", "pinecone", "--option", "namespace=a/b"], "expected the name of a namespace"),
        (["--format", "vespa", "--map", "lang=embedding"], "embedding and lang would both be called 'embedding' in the index"),
        (["--format", "milvus", "--map", "lang=id"], "id and lang would both be called 'id' in the index"),
        (["--format", "vespa", "--map", "id=key"], "--map id=key: this format can rename vector column and kept columns, nothing else"),
        (["--format", "pinecone", "--map", "embedding=v"], "--map embedding=v: this format can rename kept columns, nothing else"),
        (["--format", "hf", "--map", "lang=language"], "--map lang=language: this format keeps the dataset's names: leave out --map"),
        (["--format", "npy", "--version", "7"], "there is no version 7"),
    ],
)
def test_what_is_refused(dataset: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    answer = command("export", str(dataset), "--out", str(tmp_path / "x"), *arguments)
    assert answer.code == 2 and message in answer.errors and not (tmp_path / "x").exists()


def test_what_stands_in_the_folder(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    export(dataset, "vespa", out)
    assert "version: 2 -> 1: name another folder" in export(dataset, "vespa", out, "--version", "1", code=2).errors
    assert "format: vespa -> npy: name another folder" in export(dataset, "npy", out, code=2).errors
    said = 'options: {"namespace": "embermill", "type": "doc"} -> {"namespace": "embermill", "type": "x"}'
    assert said in export(dataset, "vespa", out, "--option", "type=x", code=2).errors
    (out / NAME).write_text("{")
    assert "is damaged" in export(dataset, "vespa", out, code=3).errors
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    assert "holds mine.txt, and no export of ours" in export(dataset, "vespa", tmp_path / "full", code=2).errors
    (tmp_path / "held").mkdir()
    with (tmp_path / "held" / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another export is writing there" in export(dataset, "vespa", tmp_path / "held", code=4).errors


def test_what_its_reader_would_refuse_is_not_written(tmp_path: Path) -> None:
    import pyarrow as pa

    from tests.jobs.index.test_check import make_dataset as make

    output = make(tmp_path / "d", pa.table({"id": ["a", "b" * 600], "text": ["a", "b"]}))
    answer = export(output, "pinecone", tmp_path / "x", code=3)
    assert "ids of at most 512 characters" in answer.errors and answer["violations"][0]["count"] == 1
    assert not [*(tmp_path / "x").rglob("*.parquet")]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_found(name: str) -> None:
    assert find_format(name).__doc__ or name in ("opensearch", "lance")


@pytest.mark.long
def test_parts_are_bounded_by_bytes_too(dataset: Path) -> None:
    """Wide rows: a part is no more than so many bytes, and is cut at the same rows wherever reading begins."""
    folder = open_folder(str(dataset))
    plan, version = open_version(folder)
    source = Source(folder, plan, version, index_columns(plan))
    with mock.patch("embermill.jobs.export.source.PART_ROWS", 50), mock.patch("embermill.jobs.export.source.PART_BYTES", 1_000):
        parts = [part.rows for part in source.parts()]
        starts = [sum(parts[:number]) for number in range(len(parts))]
        assert max(parts) < 10 and sum(parts) == 58
        for number, start in enumerate(starts):
            assert [part.rows for part in source.parts(start)] == parts[number:]
