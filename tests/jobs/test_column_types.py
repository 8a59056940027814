"""What type a column has, and what becomes of a value that it cannot hold: through the commands, in every format."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.config import CorpusConfig
from embermill.jobs.corpus.formats.line_sample import SAMPLE_BYTES
from embermill.jobs.plan.listing import survey_files
from embermill.jobs.storage.local import LocalInput
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]


def rows_of(output: Path, folder: str = "data") -> list[dict[str, Any]]:
    return [row for file in sorted((output / folder).glob("*.p*q*")) for row in pq.read_table(file).to_pylist()]


def lines(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def beyond_the_sample(path: Path, *rows: dict[str, Any], before: dict[str, Any]) -> None:
    """`before` until the first MiB is full, and then the rows."""
    filler = {"id": "filler", "text": "x" * 4000} | before
    lines(path, *[filler] * (SAMPLE_BYTES // 4000 + 200), *rows)


class TestJsonLines:
    def test_a_later_fraction_among_integers_is_refused_alone_and_the_message_says_what_helps(self, embed: Embed, tmp_path: Path) -> None:
        path = tmp_path / "corpus/a.jsonl"
        beyond_the_sample(path, {"id": "late", "text": "y", "score": 0.5}, {"id": "whole", "text": "z", "score": 2.0}, before={"score": 7})
        corpus: dict[str, Any] = {"files": [str(path)], "keep_columns": ["score"]}
        answer = embed(corpus=corpus)
        (refused,) = rows_of(answer.output, "quarantine")
        assert (answer.code, refused["id"], refused["reason"]) == (0, "late", "column_type")
        assert "declare corpus.types: {score: float64} (in a new dataset)" in refused["error"]
        assert rows_of(answer.output)[-1]["score"] == 2
        answer = embed(corpus=corpus | {"types": {"score": "float64"}}, output="as-advised")
        assert (answer.code, answer["rows_quarantined"]) == (0, 0)
        assert [row["score"] for row in rows_of(answer.output)[-2:]] == [0.5, 2.0]

    def test_a_text_among_numbers_is_refused_and_what_the_message_advises_keeps_every_row(self, embed: Embed, tmp_path: Path) -> None:
        path = tmp_path / "corpus/a.jsonl"
        beyond_the_sample(path, {"id": "late", "text": "y", "score": "high"}, {"id": 3.5, "text": "z", "score": 0.46}, before={"score": 0.5})
        corpus: dict[str, Any] = {"files": [str(path)], "keep_columns": ["score"]}
        answer = embed(corpus=corpus)
        refused = rows_of(answer.output, "quarantine")
        assert "set corpus.types: {score: string} and corpus.on_schema_drift: cast" in refused[0]["error"]
        assert "set corpus.on_schema_drift: cast" in refused[1]["error"], "the id's type is string already"
        answer = embed(corpus=corpus | {"types": {"score": "string"}, "on_schema_drift": "cast"}, output="as-advised")
        assert (answer.code, answer["rows_quarantined"]) == (0, 0)
        assert [(row["id"], row["score"]) for row in rows_of(answer.output)[-2:]] == [("late", "high"), ("3.5", "0.46")]

    @pytest.mark.parametrize("drift", ["fail", "cast", "null"])
    def test_a_string_id_after_integers_stops_nothing(self, embed: Embed, tmp_path: Path, drift: str) -> None:
        path = tmp_path / "corpus/a.jsonl"
        beyond_the_sample(path, {"id": "seven", "text": "y"}, {"id": 1.5, "text": "y"}, {"id": True, "text": "y"}, {"id": 9, "text": "z"}, before={"id": 1})
        answer = embed(corpus={"files": [str(path)], "on_schema_drift": drift})
        reason = {"fail": "column_type", "cast": "uncastable", "null": "null_id"}[drift]
        assert (answer.code, rows_of(answer.output)[-1]["id"]) == (0, 9), answer.errors
        assert [row["reason"] for row in rows_of(answer.output, "quarantine")] == [reason] * 3

    def test_mixed_from_the_beginning_is_refused_when_planning_and_the_advice_helps(self, embed: Embed, tmp_path: Path) -> None:
        path = tmp_path / "corpus/a.jsonl"
        lines(path, {"id": 1, "text": "x", "k": 1}, {"id": 2, "text": "y", "k": "n/a"}, {"id": 3, "text": "z", "k": 3})
        corpus = {"files": [str(path)], "keep_columns": ["k"]}
        for name in ("plan", "run"):
            answer = embed(name=name, corpus=corpus)
            assert answer.code == 3 and "column 'k' holds numbers and texts within its first MiB: declare corpus.types: {k: TYPE}" in answer.errors
        answer = embed(corpus=corpus | {"types": {"k": "int64"}})
        assert (answer.code, [row["k"] for row in rows_of(answer.output)]) == (0, [1, 3])
        assert [row["reason"] for row in rows_of(answer.output, "quarantine")] == ["column_type"]
        answer = embed(corpus=corpus | {"on_schema_drift": "cast"}, output="cast")
        assert [row["k"] for row in rows_of(answer.output)] == ["1", "n/a", "3"]

    def test_planning_reads_no_whole_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        read: list[int] = []
        original = LocalInput.read
        monkeypatch.setattr(LocalInput, "read", lambda self, size=-1: (found := original(self, size), read.append(len(found)))[0])
        monkeypatch.setattr("embermill.jobs.corpus.formats.line_sample.LONGEST_SAMPLED_LINE", 4 << 20)
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus/a.jsonl").write_bytes(b'{"id":1,"text":"x"}\n' + b'{"id":2,"text":"' + b"y" * (20 << 20))
        (tmp_path / "corpus/b.jsonl").write_bytes(b'{"id":1,"text":"x"}\n' * (1 << 20))
        assert [file.error for file in survey_files(CorpusConfig(files=(str(tmp_path / "corpus"),)))] == ["", ""]
        assert sum(read) < 6 << 20


class TestIds:
    @pytest.mark.parametrize("ids", [[1.5, 2.5], [True, False]])
    @pytest.mark.parametrize("form", ["jsonl", "parquet"])
    def test_truth_values_and_fractions_are_refused_when_planning(self, embed: Embed, tmp_path: Path, ids: list[Any], form: str) -> None:
        lines(tmp_path / "corpus/a.jsonl", *({"id": each, "text": "x"} for each in ids))
        pq.write_table(pa.table({"id": ids, "text": ["x", "y"]}), tmp_path / "corpus/a.parquet")
        for name in ("plan", "run"):
            answer = embed(name=name, corpus={"files": [str(tmp_path / f"corpus/a.{form}")]})
            assert answer.code == 2 and "corpus.id_column: 'id' has type" in answer.errors and "expected a string or an integer" in answer.errors


class TestDeclared:
    def test_the_same_rule_in_every_format(self, embed: Embed, tmp_path: Path) -> None:
        values = ["1", "2.5", "x"]
        lines(tmp_path / "corpus/a.jsonl", *({"id": str(row), "text": "t", "k": value} for row, value in enumerate([1, 2.5, "x"])))
        (tmp_path / "corpus/b.csv").write_text("id,text,k\n" + "".join(f"{row},t,{value}\n" for row, value in enumerate(values)))
        pq.write_table(pa.table({"id": ["0", "1", "2"], "text": ["t"] * 3, "k": values}), tmp_path / "corpus/c.parquet")
        for name in ("a.jsonl", "b.csv", "c.parquet"):
            answer = embed(corpus={"files": [str(tmp_path / "corpus" / name)], "keep_columns": ["k"], "types": {"k": "float64"}}, output=name)
            assert (answer.code, [row["k"] for row in rows_of(answer.output)]) == (0, [1.0, 2.5]), answer.errors
            assert [(row["id"], row["reason"]) for row in rows_of(answer.output, "quarantine")] == [("2", "column_type")]

    @pytest.mark.parametrize(
        ("corpus", "words"),
        [
            ({"types": {"k": "float"}, "keep_columns": ["k"]}, "types: k: expected one of string, bool, int8"),
            ({"types": {"k": "float64"}}, "types: k: is neither corpus.id_column nor one of corpus.keep_columns"),
            ({"types": {"text": "int64"}}, "types: text: is a text column"),
            ({"types": {"id": "float64"}, "id_column": "id"}, "types: id: an id is a string or an integer"),
        ],
    )
    def test_what_cannot_be_declared(self, embed: Embed, tmp_path: Path, corpus: dict[str, Any], words: str) -> None:
        lines(tmp_path / "corpus/a.jsonl", {"id": "a", "text": "x", "k": 1})
        answer = embed(name="plan", corpus={"files": [str(tmp_path / "corpus")]} | corpus)
        assert answer.code == 2 and words in answer.errors


class TestParquetTimestamps:
    EARLY, LATE, NOW = datetime.datetime(1, 1, 1), datetime.datetime(9999, 12, 31), datetime.datetime(2020, 2, 3, 4, 5, 6, 7)

    def write(self, path: Path, **columns: pa.Array) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path, use_deprecated_int96_timestamps=True)
        assert "INT96" in {pq.ParquetFile(path).schema.column(number).physical_type for number in range(len(columns))}

    def test_int96_outside_of_nanoseconds_is_refused_or_right_as_declared(self, embed: Embed, tmp_path: Path) -> None:
        times = pa.array([self.EARLY, self.NOW, None, self.LATE], pa.timestamp("us"))
        self.write(tmp_path / "corpus/a.parquet", id=pa.array(list("abcd")), text=pa.array(list("abcd")), at=times)
        answer = embed(corpus={"keep_columns": ["at"]})
        assert answer.code == 0, answer.errors
        assert [(row["id"], row["at"]) for row in rows_of(answer.output)] == [("b", self.NOW), ("c", None)]
        refused = rows_of(answer.output, "quarantine")
        assert [(row["id"], row["reason"]) for row in refused] == [("a", "column_type"), ("d", "column_type")]
        assert "the timestamp 0001-01-01T00:00:00 does not fit timestamp[ns]: declare corpus.types: {at: timestamp[us]}" in refused[0]["error"]
        answer = embed(corpus={"keep_columns": ["at"], "types": {"at": "timestamp[us]"}}, output="declared")
        assert [row["at"] for row in rows_of(answer.output)] == [self.EARLY, self.NOW, None, self.LATE]

    def test_int96_within_lists_and_structs(self, embed: Embed, tmp_path: Path) -> None:
        times = [[self.NOW], [self.NOW, self.EARLY], None, []]
        nested = pa.array([None if each is None else [{"at": time} for time in each] for each in times], pa.list_(pa.struct([("at", pa.timestamp("us"))])))
        self.write(tmp_path / "corpus/a.parquet", id=pa.array(list("abcd")), text=pa.array(list("abcd")), at=nested)
        answer = embed(corpus={"keep_columns": ["at"]})
        assert [row["id"] for row in rows_of(answer.output)] == ["a", "c", "d"]
        assert [(row["id"], row["reason"]) for row in rows_of(answer.output, "quarantine")] == [("b", "column_type")]

    def test_an_id_of_int96_is_never_another_date(self, embed: Embed, tmp_path: Path) -> None:
        self.write(tmp_path / "corpus/a.parquet", at=pa.array([self.EARLY, self.NOW], pa.timestamp("us")), text=pa.array(["x", "y"]))
        answer = embed(corpus={"id_column": "at"})
        assert [row["at"][:10] for row in rows_of(answer.output)] == ["2020-02-03"] and answer["rows_quarantined"] == 1


@pytest.mark.parametrize(
    ("first", "second", "held"),
    [
        (pa.array([1.0], pa.float32()), pa.array([0.5, 0.1, 1e300]), [1.0, 0.5]),
        (pa.array([1.0]), pa.array([2**53, 2**53 + 1, 3]), [1.0, 2.0**53, 3.0]),
        (pa.array([datetime.date(2020, 1, 1)]), pa.array([datetime.datetime(2020, 1, 2), datetime.datetime(2020, 1, 2, 3), None]), [1, 2, None]),
        (pa.array([1.0]), pa.array(["2.5", "1e999", "inf"]), [1.0, 2.5, float("inf")]),
        (pa.array([1], pa.int8()), pa.array([2, 128, 3]), [1, 2, 3]),
        (pa.array([1]), pa.array([2.0, 2.5, 1e300]), [1, 2]),
    ],
    ids=["narrower floats", "long integers among floats", "a time among dates", "texts to infinity", "integers", "fractions"],
)
def test_a_cast_loses_nothing_in_silence(embed: Embed, tmp_path: Path, first: pa.Array, second: pa.Array, held: list[Any]) -> None:
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"id": ["0"], "text": ["x"], "k": first}), tmp_path / "corpus/a.parquet")
    pq.write_table(pa.table({"id": ["1", "2", "3"], "text": ["x"] * 3, "k": second}), tmp_path / "corpus/b.parquet")
    answer = embed(corpus={"keep_columns": ["k"], "on_schema_drift": "cast"})
    kept = [row["k"].day if isinstance(row["k"], datetime.date) else row["k"] for row in rows_of(answer.output)]
    assert (answer.code, kept) == (0, held), answer.errors
    assert {row["reason"] for row in rows_of(answer.output, "quarantine")} == {"uncastable"}


@pytest.mark.long
def test_a_table_of_20000_columns_is_planned_at_once(embed: Embed, tmp_path: Path) -> None:
    """It took eight seconds, and four times as long for twice as many; what is counted is looks at the columns, not time."""
    (tmp_path / "corpus").mkdir()
    names = {f"c{number}": [0] for number in range(20_000)}
    pq.write_table(pa.table({"id": ["a"], "text": ["x"], **names}), tmp_path / "corpus/a.parquet")
    answer = embed(name="plan")
    assert (answer.code, answer["rows"]) == (0, 1)
    answer = embed(name="plan", corpus={"text_columns": ["body"]})
    assert answer.code == 2 and len(answer.errors) < 2000 and "and 19972 more" in answer.errors


def test_a_row_of_enormous_kept_columns_is_refused_alone(embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.corpus.rows.MAX_ROW_BYTES", 10_000)
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"id": ["a", "b", "c"], "text": ["x"] * 3, "k": ["y", "y" * 20_000, "y"]}), tmp_path / "corpus/a.parquet")
    answer = embed(corpus={"keep_columns": ["k"]})
    assert [row["id"] for row in rows_of(answer.output)] == ["a", "c"]
    assert [(row["id"], row["reason"]) for row in rows_of(answer.output, "quarantine")] == [("b", "row_too_large")]
