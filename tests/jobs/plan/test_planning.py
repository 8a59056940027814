"""From configuration and corpus to a plan: columns, types, what deviates, what may change later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.plan.changes import changed_keys
from tests.jobs.corpus.corpus_files import compress
from tests.jobs.plan.plans import FINGERPRINT, ids, job, lines, planned, table


class TestSchema:
    def test_columns_and_types(self, tmp_path: Path) -> None:
        table(
            tmp_path / "corpus/a.parquet",
            id=pa.array([1], pa.int32()),
            title=["t"],
            body=["b"],
            lang=pa.array(["en"]).dictionary_encode(),
            tags=[["x"]],
            score=[1.5],
        )
        plan = planned(job(tmp_path, corpus={"text_columns": ["title", "body"], "keep_columns": (("lang", "lang"), ("tags", "labels"), ("score", "score"))}))
        assert plan.schema.equals(
            pa.schema(
                [
                    pa.field("id", pa.int32(), nullable=False),
                    pa.field("embedding", pa.list_(pa.field("element", pa.float32(), nullable=False), 8), nullable=False),
                    pa.field("num_tokens", pa.int32(), nullable=False),
                    pa.field("num_tokens_dropped", pa.int32(), nullable=False),
                    pa.field("text_hash", pa.string(), nullable=False),
                    pa.field("version", pa.int64(), nullable=False),
                    pa.field("lang", pa.string()),
                    pa.field("labels", pa.list_(pa.field("element", pa.string()))),
                    pa.field("score", pa.float64()),
                ]
            )
        )
        assert plan.id_stability == "column" and plan.rows.id_name == "id"

    @pytest.mark.parametrize(
        ("columns", "corpus", "id_name", "stability"),
        [
            ({"id": ["a"], "text": ["x"]}, {}, "id", "column"),
            ({"key": ["a"], "text": ["x"]}, {"id_column": "key"}, "key", "column"),
            ({"key": ["a"], "text": ["x"]}, {}, "id", "positional"),
        ],
    )
    def test_which_id(self, tmp_path: Path, columns: dict[str, Any], corpus: dict[str, Any], id_name: str, stability: str) -> None:
        table(tmp_path / "corpus/sub/a.parquet", **columns)
        plan = planned(job(tmp_path, corpus=corpus))
        assert (plan.rows.id_name, plan.id_stability, plan.schema.names[0]) == (id_name, stability, id_name)
        assert ids(plan) == (["sub/a.parquet:0"] if stability == "positional" else ["a"])

    @pytest.mark.parametrize("column", ["embedding", "num_tokens", "num_tokens_dropped", "text_hash", "version", "id"])
    def test_a_kept_column_that_collides_is_refused_with_the_renaming(self, tmp_path: Path, column: str) -> None:
        table(tmp_path / "corpus/a.parquet", **({"id": ["a"], "text": ["x"]} | {column: ["y"]}))
        with pytest.raises(UsageError) as caught:
            planned(job(tmp_path, corpus={"keep_columns": ((column, column),)}))
        assert f"keep_columns: [{{{column}: source_{column}}}]" in str(caught.value)
        plan = planned(job(tmp_path, corpus={"keep_columns": ((column, f"source_{column}"),)}))
        assert plan.schema.names[-1] == f"source_{column}"

    def test_an_id_column_that_collides(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", embedding=["a"], text=["x"])
        with pytest.raises(UsageError, match=r"corpus\.id_column: 'embedding' is the name of a column"):
            planned(job(tmp_path, corpus={"id_column": "embedding"}))

    @pytest.mark.parametrize(
        ("corpus", "key"),
        [({"text_columns": ["body"]}, "text_columns"), ({"id_column": "key"}, "id_column"), ({"keep_columns": (("lang", "lang"),)}, "keep_columns")],
    )
    def test_a_column_that_no_file_has(self, tmp_path: Path, corpus: dict[str, Any], key: str) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
        lines(tmp_path / "corpus/b.jsonl", {"id": "b", "text": "y", "extra": 1})
        with pytest.raises(UsageError, match=rf"corpus\.{key}: no file has a column .*; the columns there are: id, text, extra"):
            planned(job(tmp_path, corpus=corpus))

    @pytest.mark.parametrize("ids", [[[1]], [{"a": 1}]])
    def test_an_id_that_is_neither_string_nor_number(self, tmp_path: Path, ids: list[Any]) -> None:
        table(tmp_path / "corpus/a.parquet", id=ids, text=["x"])
        with pytest.raises(UsageError, match=r"corpus\.id_column: 'id' has type .*: expected a string or an integer"):
            planned(job(tmp_path))

    def test_jsonl_types_are_those_seen(self, tmp_path: Path) -> None:
        lines(
            tmp_path / "corpus/a.jsonl",
            {"id": 1, "text": "a", "n": 1, "f": 1, "b": True, "s": "2024-01-01", "l": ["x"], "o": {"k": 1}, "none": None},
            {"id": 2, "text": "b", "n": 2, "f": 1.5},
        )
        kept = tuple((name, name) for name in ("n", "f", "b", "s", "l", "o", "none"))
        rows = planned(job(tmp_path, corpus={"keep_columns": kept})).rows
        assert rows.id_type == pa.int64()
        assert [kind for _, _, kind in rows.kept] == [
            pa.int64(),
            pa.float64(),
            pa.bool_(),
            pa.string(),
            pa.list_(pa.string()),
            pa.struct([("k", pa.int64())]),
            pa.string(),
        ]

    def test_rows_per_shard_leaves_room_for_everything_that_is_stored(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"] * 1000, text=["x"] * 1000, body=["y" * 10_000] * 1000)
        lean, fat = (planned(job(tmp_path, corpus={"keep_columns": kept}, output={"shard_bytes": 1_000_000})) for kept in ((), (("body", "body"),)))
        assert 1_000_000 // 150 < lean.rows_per_shard < 1_000_000 // (8 * 4) and 90 <= fat.rows_per_shard <= 100


class TestDrift:
    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"id": ["b"], "text": [1]}, r"b\.parquet: column 'text' has type int64; this job reads it as string"),
            ({"id": [1], "text": ["y"]}, r"b\.parquet: column 'id' has type int64; this job reads it as string"),
            ({"text": ["y"]}, r"b\.parquet: column 'id' is missing; this job reads it as string"),
            ({"id": ["b"]}, r"b\.parquet: column 'text' is missing; this job reads it as string"),
            ({"id": ["b"], "text": [{"a": 1}]}, r"b\.parquet: column 'text' has type struct<a: int64>; .*: fix the file, or flatten the column"),
            ({"id": ["b"], "text": pa.nulls(1)}, r"b\.parquet: column 'text' has type null; this job reads it as string"),
        ],
    )
    def test_fail_names_file_column_and_types(self, tmp_path: Path, columns: dict[str, Any], message: str) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
        table(tmp_path / "corpus/b.parquet", **columns)
        with pytest.raises(DataError, match=message):
            planned(job(tmp_path))
        planned(job(tmp_path, corpus={"on_schema_drift": "cast"}))
        planned(job(tmp_path, corpus={"on_schema_drift": "null"}))

    def test_a_kept_column_without_a_value_is_no_drift(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"], lang=["en"])
        table(tmp_path / "corpus/b.parquet", id=["b"], text=["y"], lang=pa.nulls(1))
        planned(job(tmp_path, corpus={"keep_columns": ["lang"]}))

    def test_a_sparse_json_column_is_no_drift(self, tmp_path: Path) -> None:
        lines(tmp_path / "corpus/a.jsonl", *({"id": str(n), "text": "x" * 1000, "k": "v"} for n in range(3)))
        lines(tmp_path / "corpus/b.jsonl", *({"id": str(n), "text": "x" * 1000} | ({"k": "v"} if n == 1999 else {}) for n in range(2000)))
        plan = planned(job(tmp_path, corpus={"keep_columns": (("k", "k"),)}))
        assert len(ids(plan)) == 2003

    def test_mixed_formats_of_one_schema(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
        lines(tmp_path / "corpus/b.jsonl", {"id": "b", "text": "y"})
        (tmp_path / "corpus/c.csv.gz").write_bytes(compress(b"text,id\nz,c\n", "gzip"))
        assert ids(planned(job(tmp_path))) == ["a", "b", "c"]


class TestChangedKeys:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        table(tmp_path / "corpus/a.parquet", id=[1], text=["x"])
        return tmp_path

    def test_nothing_changed(self, folder: Path) -> None:
        plan = planned(job(folder))
        assert changed_keys(plan, job(folder)) == [] and changed_keys(plan, job(folder), FINGERPRINT) == []

    @pytest.mark.parametrize(
        ("section", "key", "value", "shown"),
        [
            ("corpus", "files", ["corpus/*.parquet"], "corpus.files: "),
            ("corpus", "id_column", "id", "corpus.id_column: unset -> id"),
            ("corpus", "text_columns", ["text", "id"], 'corpus.text_columns: ["text"] -> ["text", "id"]'),
            ("corpus", "text_separator", " ", 'corpus.text_separator: "\\n" -> " "'),
            ("corpus", "keep_columns", (("text", "body"),), "corpus.keep_columns: "),
            ("corpus", "partition_text_bytes", 99, "corpus.partition_text_bytes: 262144 -> 99"),
            ("corpus", "max_text_bytes", 99, "corpus.max_text_bytes: 16777216 -> 99"),
            ("corpus", "on_schema_drift", "null", "corpus.on_schema_drift: fail -> null"),
            ("corpus", "on_bad_file", "quarantine", "corpus.on_bad_file: fail -> quarantine"),
            ("output", "shard_bytes", 99, "output.shard_bytes: 256000000 -> 99"),
            ("model", "max_tokens", 16, "model.max_tokens: 256 -> 16"),
            ("model", "prompt", "q: ", 'model.prompt: "" -> "q: "'),
            ("model", "normalize", False, "model.normalize: true -> false"),
            ("model", "engine", "python:a:B", "model.engine: native -> python:a:B"),
            ("model", "precision", "float16", "model.precision: float32 -> float16"),
            ("model", "on_long_text", "error", "model.on_long_text: truncate -> error"),
        ],
    )
    def test_named_before_a_model_is_loaded(self, folder: Path, section: str, key: str, value: object, shown: str) -> None:
        (change,) = changed_keys(planned(job(folder)), job(folder, **{section: {key: value}}))
        assert change.startswith(shown)

    @pytest.mark.parametrize(
        ("section", "key", "value"),
        [
            ("workers", "count", 9),
            ("workers", "cpus", 2),
            ("ray", "address", "auto"),
            ("corpus", "max_quarantined", 0.5),
            ("model", "source", "moved/elsewhere"),
            ("model", "max_tokens", 256),
            ("model", "normalize", True),
            ("model", "precision", "float32"),
            ("model", "query_prompt", "q: "),
            ("corpus", "partition_text_bytes", 262_144),
        ],
    )
    def test_what_may_change_or_says_the_same(self, folder: Path, section: str, key: str, value: object) -> None:
        assert changed_keys(planned(job(folder)), job(folder, **{section: {key: value}}), FINGERPRINT) == []

    def test_the_fingerprint_decides_about_the_model(self, folder: Path) -> None:
        plan = planned(job(folder))
        changes = changed_keys(plan, job(folder, model={"max_tokens": 16}), FINGERPRINT | {"model.max_tokens": "16", "model.weights": "def"})
        assert changes == ["model.max_tokens: 256 -> 16", "model.weights: abc -> def"]
        explicit = planned(job(folder, model={"max_tokens": 256}))
        assert changed_keys(explicit, job(folder), FINGERPRINT) == []
        assert changed_keys(explicit, job(folder), FINGERPRINT | {"model.max_tokens": "128"}) == ["model.max_tokens: 256 -> 128"]
