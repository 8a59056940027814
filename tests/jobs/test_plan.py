"""From configuration and corpus to a plan that is written once and read back equal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.config import JobConfig
from jobs.corpus import read_rows
from jobs.corpus_listing import survey_files
from jobs.engine import Output
from jobs.errors import DataError, UsageError
from jobs.plan import Plan, changed_keys, make_plan, read_plan, write_plan
from jobs.storage import AlreadyExists, open_folder
from jobs.survey import survey
from tests.jobs.corpus_files import compress

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
                    pa.field("embedding", pa.list_(pa.float32(), 8), nullable=False),
                    pa.field("num_tokens", pa.int32(), nullable=False),
                    pa.field("num_tokens_dropped", pa.int32(), nullable=False),
                    pa.field("text_hash", pa.string(), nullable=False),
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

    @pytest.mark.parametrize("column", ["embedding", "num_tokens", "num_tokens_dropped", "text_hash", "id"])
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
            ({"id": ["b"], "text": [1]}, r"b\.parquet: column 'text' has type int64, while the plan has string"),
            ({"id": [1], "text": ["y"]}, r"b\.parquet: column 'id' has type int64, while the plan has string"),
            ({"text": ["y"]}, r"b\.parquet: column 'id' is missing, while the plan has string"),
            ({"id": ["b"]}, r"b\.parquet: column 'text' is missing, while the plan has string"),
            ({"id": ["b"], "text": pa.nulls(1)}, r"b\.parquet: column 'text' has type null, while the plan has string"),
        ],
    )
    def test_fail_names_file_column_and_types(self, tmp_path: Path, columns: dict[str, Any], message: str) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
        table(tmp_path / "corpus/b.parquet", **columns)
        with pytest.raises(DataError, match=message):
            planned(job(tmp_path))
        planned(job(tmp_path, corpus={"on_schema_drift": "cast"}))
        planned(job(tmp_path, corpus={"on_schema_drift": "null"}))

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


class TestFiles:
    def test_two_files_of_one_name_without_ids(self, tmp_path: Path) -> None:
        for folder in ("one", "two"):
            table(tmp_path / folder / "a.parquet", text=["x"])
        with pytest.raises(UsageError, match=r"one/a\.parquet and .*two/a\.parquet would give rows the same ids \(a\.parquet:POSITION\)"):
            planned(job(tmp_path, corpus={"files": ["one", "two"]}))
        assert ids(planned(job(tmp_path, corpus={"files": ["*/a.parquet"]}))) == ["one/a.parquet:0", "two/a.parquet:0"]

    def test_a_file_that_two_entries_match_is_taken_once(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
        table(tmp_path / "corpus/b.parquet", id=["b"], text=["x"])
        assert ids(planned(job(tmp_path, corpus={"files": ["corpus/b.*", "corpus"]}))) == ["b", "a"]

    def test_an_unknown_ending(self, tmp_path: Path) -> None:
        lines(tmp_path / "corpus/a.dat", {"id": "a", "text": "x"})
        with pytest.raises(UsageError, match=r"a\.dat: its name does not tell its format: expected \.parquet"):
            planned(job(tmp_path))
        assert ids(planned(job(tmp_path, corpus={"format": "jsonl"}))) == ["a"]

    def test_unreadable_files_fail_by_name_or_count_as_a_row_each(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=["a"], text=["x"])
        (tmp_path / "corpus/b.parquet").write_bytes(b"no Parquet")
        (tmp_path / "corpus/c.jsonl.gz").write_bytes(b"no gzip")
        (tmp_path / "corpus/d.txt").symlink_to("nothing")
        with pytest.raises(DataError, match=r"3 of 4 corpus files cannot be read: .*b\.parquet: .*c\.jsonl\.gz: .*d\.txt: a link to nothing"):
            planned(job(tmp_path))
        plan = planned(job(tmp_path, corpus={"on_bad_file": "quarantine"}))
        batches = [batch for partition in plan.partitions for batch in read_rows(partition, plan.rows)]
        assert sum(batch.num_rows for batch in batches) == 4
        assert [Path(refusal.file).name for batch in batches for refusal in batch.refused] == ["b.parquet", "c.jsonl.gz", "d.txt"]
        assert {refusal.reason for batch in batches for refusal in batch.refused} == {"unreadable_file"}

    def test_no_rows_at_all(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=pa.array([], pa.string()), text=pa.array([], pa.string()))
        (tmp_path / "corpus/b.jsonl").write_bytes(b"")
        (tmp_path / "corpus/c.csv").write_bytes(b"")
        plan = planned(job(tmp_path, corpus={"on_schema_drift": "null"}))
        assert ids(plan) == []


class TestPartitions:
    def test_dictionary_encoded_text_is_sampled(self, tmp_path: Path) -> None:
        rows = 4_200
        table(tmp_path / "corpus/a.parquet", id=np.arange(rows), text=pa.array(["x" * 10_000]).take(pa.array(np.zeros(rows, int))))
        plan = planned(job(tmp_path, corpus={"partition_text_bytes": 4_200_000}))
        assert len(plan.partitions) == 10 and sum(partition.text_bytes for partition in plan.partitions) == pytest.approx(42_000_000, rel=0.01)

    @pytest.mark.parametrize(("device", "count"), [("cpu", 8), ("gpu", 1)])
    def test_auto_depends_on_the_device_only(self, tmp_path: Path, device: str, count: int) -> None:
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/a.txt").write_text("x" * 99 + "\n" + "y" * 1_999_999 + "\n")
        plan = planned(job(tmp_path, workers={"count": 7}), device)
        assert len(plan.partitions) == count and plan.config["corpus.partition_text_bytes"] == {"cpu": 262_144, "gpu": 67_108_864}[device]
        assert plan.partitions == planned(job(tmp_path, workers={"count": 1}), device).partitions

    def test_every_row_is_in_one_partition_in_every_format(self, tmp_path: Path) -> None:
        rows = [{"id": f"{n:04d}", "text": "word " * (n % 50)} for n in range(500)]
        table(tmp_path / "corpus/a.parquet", id=[row["id"] for row in rows], text=[row["text"] for row in rows])
        lines(tmp_path / "corpus/b.jsonl", *rows)
        (tmp_path / "corpus/c.jsonl.zst").write_bytes(compress((tmp_path / "corpus/b.jsonl").read_bytes(), "zstd"))
        (tmp_path / "corpus/d.csv").write_text("id,text\n" + "".join(f"{row['id']},{row['text']}\n" for row in rows))
        plan = planned(job(tmp_path, corpus={"partition_text_bytes": 3000}))
        assert ids(plan) == [row["id"] for row in rows] * 4 and len(plan.partitions) > 20

    def test_ten_thousand_tiny_files(self, tmp_path: Path) -> None:
        (tmp_path / "corpus").mkdir()
        for number in range(10_000):
            (tmp_path / f"corpus/{number:05d}.txt").write_text(f"text {number}")
        plan = planned(job(tmp_path))
        assert len(plan.partitions) < 60
        texts = [text for partition in plan.partitions[:2] for batch in read_rows(partition, plan.rows) for text in batch.texts.to_pylist()]
        assert texts == [f"text {number}" for number in range(len(texts))] and len(texts) > 300


class TestLimit:
    @pytest.mark.parametrize("limit", [1, 3, 4, 7, 11, 12, 100])
    @pytest.mark.parametrize("form", ["parquet", "jsonl", "jsonl.gz", "csv", "txt", "txt.zst"])
    def test_the_first_rows_of_every_format(self, tmp_path: Path, form: str, limit: int) -> None:
        (tmp_path / "corpus").mkdir()
        for number in range(3):
            names = [f"{number}-{row}" for row in range(4)]
            path = tmp_path / f"corpus/{number}.{form}"
            if form == "parquet":
                pq.write_table(pa.table({"id": names, "text": names}), path, row_group_size=3)
                continue
            data = {"j": "".join(f'{{"text":"{name}"}}\n\n' for name in names), "c": "text\n" + "\n".join(names), "t": "\n".join(names)}[form[0]].encode()
            path.write_bytes(compress(data, "gzip") if form.endswith("gz") else compress(data, "zstd") if form.endswith("zst") else data)
        plan = planned(job(tmp_path, corpus={"partition_text_bytes": 12}), limit=limit)
        texts = [text for partition in plan.partitions for batch in read_rows(partition, plan.rows) for text in batch.texts.to_pylist()]
        assert texts == [f"{number}-{row}" for number in range(3) for row in range(4)][:limit]

    def test_refused_rows_count(self, tmp_path: Path) -> None:
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/a.jsonl").write_bytes(b'{"id":"1","text":"a"}\nbroken\n{"id":"3","text":"c"}\n')
        plan = planned(job(tmp_path), limit=2)
        assert sum(batch.num_rows for partition in plan.partitions for batch in read_rows(partition, plan.rows)) == 2 and ids(plan) == ["1"]


class TestWritten:
    @pytest.fixture(params=["local", "s3"])
    def uri(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        return str(tmp_path / "data set") if request.param == "local" else request.getfixturevalue("s3_folder_url")

    @pytest.fixture
    def plan(self, tmp_path: Path) -> Plan:
        table(tmp_path / "corpus/a.parquet", id=[1, 2], text=["x", "y"], tags=[["a"], None])
        lines(tmp_path / "corpus/b.jsonl", {"id": 3, "text": "z", "tags": ["q"]})
        return planned(job(tmp_path, corpus={"keep_columns": (("tags", "labels"),), "partition_text_bytes": 1}))

    def test_reads_back_equal(self, plan: Plan, uri: str) -> None:
        folder = open_folder(uri)
        assert read_plan(folder) is None
        write_plan(folder, plan)
        assert read_plan(folder) == plan and len(plan.partitions) > 1
        write_plan(folder, plan)
        names = [name for name, _ in folder.list()]
        assert names == ["_embermill/format.json"] + [f"_embermill/plan/000001/{name}" for name in ("inputs.parquet", "root.json", "segments.parquet")]
        assert json.loads(folder.read("_embermill/format.json"))["format_version"] == 1

    def test_another_plan_does_not_replace_it(self, plan: Plan, uri: str, tmp_path: Path) -> None:
        folder = open_folder(uri)
        write_plan(folder, plan)
        other = planned(job(tmp_path, corpus={"on_schema_drift": "cast"}))
        with pytest.raises(AlreadyExists):
            write_plan(folder, other)
        assert read_plan(folder) == plan

    def test_what_a_killed_planning_left_behind_is_no_plan(self, plan: Plan, uri: str, tmp_path: Path) -> None:
        folder = open_folder(uri)
        folder.create("_embermill/plan/000001/segments.parquet", b"of another corpus")
        assert read_plan(folder) is None
        write_plan(folder, plan)
        assert read_plan(folder) == plan

    @pytest.mark.parametrize("name", ["root.json", "segments.parquet", "inputs.parquet"])
    def test_damage_is_found(self, plan: Plan, tmp_path: Path, name: str) -> None:
        folder = open_folder(str(tmp_path / "out"))
        write_plan(folder, plan)
        path = tmp_path / "out/_embermill/plan/000001" / name
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DataError, match=name):
            read_plan(folder)
        path.unlink()
        if name != "root.json":
            with pytest.raises(DataError, match=name):
                read_plan(folder)

    def test_a_folder_of_something_else_is_refused(self, plan: Plan, tmp_path: Path) -> None:
        table(tmp_path / "out/data/part-1.parquet", x=[1])
        with pytest.raises(UsageError, match="holds a folder data/ that no dataset of ours made"):
            write_plan(open_folder(str(tmp_path / "out")), plan)

    @pytest.mark.parametrize(("name", "key"), [("_embermill/format.json", "format_version"), ("_embermill/plan/000001/root.json", "plan_format")])
    def test_another_version_is_refused(self, plan: Plan, tmp_path: Path, name: str, key: str) -> None:
        folder = open_folder(str(tmp_path / "out"))
        write_plan(folder, plan)
        path = tmp_path / "out" / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: 99}))
        with pytest.raises(UsageError, match=f"{key} 1, got 99"):
            read_plan(folder)
            write_plan(folder, plan)

    def test_no_credentials_and_no_endpoint(self, plan: Plan, s3_folder_url: str, s3_server: str) -> None:
        folder = open_folder(s3_folder_url)
        write_plan(folder, plan)
        everything = b"".join(folder.read(name) for name, _ in folder.list())
        assert b"secret-of-the-test" not in everything and s3_server.encode() not in everything and b"127.0.0.1" not in everything


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


class TestSurvey:
    def test_of_parquet(self, tmp_path: Path) -> None:
        texts = ["word " * (n % 10 + 1) for n in range(1000)]
        table(tmp_path / "corpus/a.parquet", id=list(range(1000)), text=texts)
        found = survey(job(tmp_path), count_tokens=lambda batch: np.array([len(text.split()) for text in batch]), dimensions=8, tokens_per_s=1000.0)
        assert (found.files, found.rows, found.rows_exact, found.partitions, found.device) == (1, 1000, True, 1, "cpu")
        assert found.percentiles["max"] == 10 and sum(count for _, count in found.lengths) == found.sampled_texts > 0
        assert found.tokens == pytest.approx(5500, rel=0.2) and found.seconds == found.tokens / 1000 and 50_000 < (found.output_bytes or 0) < 200_000
        assert json.loads(json.dumps(found.to_json()))["rows"] == 1000

    def test_of_lines_without_a_tokenizer(self, tmp_path: Path) -> None:
        lines(tmp_path / "corpus/a.jsonl", *({"id": str(n), "text": "x" * 100, "other": "y" * 300} for n in range(10_000)))
        found = survey(job(tmp_path))
        assert found.rows == pytest.approx(10_000, rel=0.01) and not found.rows_exact and found.lengths == ()
        assert found.text_bytes == pytest.approx(1_000_000, rel=0.05) and found.tokens == pytest.approx(250_000, rel=0.05) and found.output_bytes is None

    def test_writes_nothing(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=[1], text=["x"])
        survey(job(tmp_path))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]

    def test_raises_what_planning_would(self, tmp_path: Path) -> None:
        table(tmp_path / "corpus/a.parquet", id=[1], txt=["x"])
        with pytest.raises(UsageError, match="the columns there are: id, txt"):
            survey(job(tmp_path))


def test_the_corpus_on_an_object_store_plans_and_reads_as_on_a_disk(tmp_path: Path, s3_folder_url: str, put_object: Callable[[str, bytes], None]) -> None:
    rows = [{"text": f"text {n} " + "é" * (n % 70)} for n in range(2000)]
    table(tmp_path / "corpus/sub folder/a%20b.parquet", text=[row["text"] for row in rows])
    lines(tmp_path / "corpus/b c.jsonl", *rows)
    (tmp_path / "corpus/d.txt.gz").write_bytes(compress("".join(row["text"] + "\n" for row in rows).encode(), "gzip"))
    for path in (tmp_path / "corpus").rglob("*.*"):
        put_object(f"{s3_folder_url}/{path.relative_to(tmp_path / 'corpus')}", path.read_bytes())
    local, remote = (
        planned(job(tmp_path, corpus={"files": files, "partition_text_bytes": 20_000, "on_schema_drift": "null"})) for files in (["corpus"], [s3_folder_url])
    )
    assert ids(local) == ids(remote) and len(ids(remote)) == 6000
    assert [partition.text_bytes for partition in local.partitions] == [partition.text_bytes for partition in remote.partitions]
