"""`embermill redrive`: what was refused is corrected, and the dataset is finished with every good row's vector kept."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.jobs import poison
from tests.jobs.command_line import Answer

Embed = Callable[..., Answer]
Command = Callable[..., Answer]


def quarantined(output: Path) -> list[dict[str, Any]]:
    return [each for file in sorted((output / "quarantine").glob("*.pq")) for each in pq.read_table(file).to_pylist()]


def texts_seen() -> Counter[str]:
    with contextlib.suppress(FileNotFoundError):
        return Counter(Path("embedded-texts").read_text(encoding="utf-8").splitlines())
    return Counter()


ROWS = int(os.environ.get("EMBERMILL_TEST_POISON_ROWS", "4000"))  # 100,000 by hand


def test_poison_of_ten_kinds_is_refused_alone_then_corrected_and_redriven(
    embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {key: dict(value) for key, value in poison.SETTINGS.items()}
    settings["model"]["engine"] = "python:tests.jobs.poison:CountingEngine"
    settings["corpus"]["files"] = [str(tmp_path / "corpus")]
    expected = poison.write_corpus(tmp_path / "corpus", ROWS, poison=True)
    answer = embed(engine=None, **settings)
    assert answer.code == 3 and "embermill redrive" in answer.errors
    found = Counter[str]()
    for each in quarantined(answer.output):
        found[each["reason"]] += each["row_count"]
    assert found == {kind: rows for kind, rows in expected.items() if rows}, "all and only they"
    before = poison.dataset_rows(answer.output)
    poison.write_corpus(tmp_path / "corpus", ROWS, poison=False)
    redriven = command("redrive", str(answer.output))
    assert redriven.code == 0, redriven.errors
    assert (redriven["rows_in"], redriven["rows_out"], redriven["rows_quarantined"]) == (ROWS, ROWS, 0)
    seen = texts_seen()
    good = Counter(poison.row(number)["text"].strip() for number in range(ROWS))
    assert {text.strip() for text in seen} >= set(good)
    assert max(seen[poison.row(number)["text"]] for number in range(ROWS)) == 1, "the engine sees each good text once"
    after = poison.dataset_rows(answer.output)
    assert set(before) <= set(after)
    undisturbed = embed(engine=None, output="undisturbed", **settings)
    assert after == poison.dataset_rows(undisturbed.output), "the same rows, bit for bit"
    assert command("verify", str(answer.output)).code == 0
    assert command("status", str(answer.output))["state"] == "finished"
    again = embed(engine=None, **settings)
    assert (again.code, again["rows_embedded"]) == (0, 0), again.errors


class TestChangedFiles:
    def test_a_file_that_changed_before_it_was_embedded(self, embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its partitions that are committed keep what is the same, and lose what is gone."""
        corpus: dict[str, Any] = {"partition_text_bytes": 200, "on_schema_drift": "fail"}
        (tmp_path / "corpus").mkdir()
        lines = [json.dumps({"id": str(row), "text": f"text {row} " + "x" * 40}) for row in range(30)]
        path = tmp_path / "corpus/a.jsonl"
        path.write_text("\n".join([*lines[:20], json.dumps({"id": "bad", "text": "poison"}), *lines[20:]]) + "\n")
        corpus["files"], corpus["max_quarantined"] = [str(path)], 0
        assert embed(engine="PoisonEngine", corpus=corpus).code == 3
        path.write_text("\n".join([*lines[2:20], json.dumps({"id": "3", "text": "edited"}), *lines[20:], json.dumps({"id": "new", "text": "new"})]) + "\n")
        output = tmp_path / "out"
        answer = command("redrive", str(output))
        assert answer.code == 0, answer.errors
        whole = embed(engine="PoisonEngine", corpus=corpus, output="whole")
        assert poison.dataset_rows(output) == poison.dataset_rows(whole.output)
        assert command("verify", str(output)).code == 3, "the id 3 stands twice in that corpus"

    def test_an_engine_that_is_cured_without_any_change_of_the_corpus(
        self, embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "corpus").mkdir()
        pq.write_table(pa.table({"id": ["a", "b", "c"], "text": ["fine", "poison", "fine too"]}), tmp_path / "corpus/a.parquet")
        answer = embed(engine="PoisonEngine", corpus={"max_quarantined": 0})
        assert answer.code == 3
        monkeypatch.setenv("EMBERMILL_TEST_CURED", "1")
        answer = command("redrive", str(tmp_path / "out"))
        assert (answer.code, answer["rows_out"]) == (0, 3), answer.errors

    def test_killed_on_the_way_it_is_resumed_by_run(
        self, embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "corpus").mkdir()
        path = tmp_path / "corpus/a.jsonl"
        lines = [json.dumps({"id": str(row), "text": f"text {row}"}) for row in range(100)]
        path.write_text("\n".join([*lines[:50], "{", *lines[50:]]) + "\n")
        corpus = {"files": [str(path)], "max_quarantined": 0, "partition_text_bytes": 300}
        assert embed(corpus=corpus).code == 3
        path.write_text("\n".join(lines) + "\n")
        with monkeypatch.context() as patched:
            patched.setattr("embermill.jobs.run._Job._embed", _raise_keyboard_interrupt)
            assert command("redrive", str(tmp_path / "out")).code == 33
        assert command("status", str(tmp_path / "out"))["state"] != "finished"
        with monkeypatch.context() as patched, caplog.at_level("INFO"):
            patched.setattr("embermill.jobs.run._Job._embed", _raise_keyboard_interrupt)
            assert command("redrive", str(tmp_path / "out")).code == 33
        assert re.search(r"0 corpus files changed; 0 partitions to be read again; [1-9]\d* partitions? left from before", caplog.text)
        answer = embed(corpus=corpus)
        assert (answer.code, answer["rows_out"]) == (0, 100), answer.errors
        whole = embed(corpus=corpus, output="whole")
        assert poison.dataset_rows(answer.output) == poison.dataset_rows(whole.output)

    def test_killed_before_its_manifest_plan_says_that_a_run_would_finish(
        self, embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "corpus").mkdir()
        path = tmp_path / "corpus/a.jsonl"
        path.write_text('{"id": "a", "text": "x"}\n{\n')
        corpus = {"files": [str(path)], "max_quarantined": 0}
        assert embed(corpus=corpus).code == 3
        path.write_text('{"id": "a", "text": "x"}\n{"id": "b", "text": "y"}\n')
        with monkeypatch.context() as patched:
            patched.setattr("embermill.jobs.run.remove_superseded", _raise_keyboard_interrupt)
            assert command("redrive", str(tmp_path / "out")).code == 33
        planned = embed(name="plan", corpus=corpus)
        assert (planned.code, planned["action"]) == (0, "finish"), planned.errors
        assert embed(corpus=corpus)["rows_out"] == 2

    def test_twice(self, embed: Embed, command: Command, tmp_path: Path) -> None:
        (tmp_path / "corpus").mkdir()
        path = tmp_path / "corpus/a.jsonl"
        lines = [json.dumps({"id": str(row), "text": f"text {row}"}) for row in range(40)]
        path.write_text("\n".join([*lines[:20], "{", "{", *lines[20:]]) + "\n")
        corpus = {"files": [str(path)], "max_quarantined": 0, "partition_text_bytes": 300}
        assert embed(corpus=corpus).code == 3
        path.write_text("\n".join([*lines[:20], "{", *lines[20:]]) + "\n")
        answer = command("redrive", str(tmp_path / "out"))
        assert answer.code == 3 and "1 of 41 rows was quarantined" in answer.errors
        path.write_text("\n".join(lines) + "\n")
        answer = command("redrive", str(tmp_path / "out"))
        assert (answer.code, answer["rows_out"], answer["rows_quarantined"]) == (0, 40, 0), answer.errors
        assert command("verify", str(tmp_path / "out")).code == 0


def _raise_keyboard_interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


class TestTypesThatNobodyGave:
    """A column that held nothing but nulls was planned as a string; the corpus that is corrected may say otherwise."""

    def write(self, tmp_path: Path, name: str, rows: list[dict[str, Any]], raw: str = "") -> None:
        (tmp_path / "corpus").mkdir(exist_ok=True)
        (tmp_path / "corpus" / name).write_text("".join(json.dumps(row) + "\n" for row in rows) + raw)

    def corpus(self, tmp_path: Path, **settings: Any) -> dict[str, Any]:
        return {"files": [str(tmp_path / "corpus")], "partition_text_bytes": 200, "max_quarantined": 0} | settings

    def same_as_whole(self, embed: Embed, command: Command, answer: Answer, output: Path, corpus: dict[str, Any]) -> pa.Schema:
        """Redriven to what a run over the corrected corpus makes. Its schema."""
        assert answer.code == 0, answer.errors
        whole = embed(corpus=corpus, output="whole")
        assert whole.code == 0 and poison.dataset_rows(output) == poison.dataset_rows(whole.output)
        assert command("verify", str(output)).code == 0 and command("status", str(output))["state"] == "finished"
        again = embed(corpus=corpus)
        assert (again.code, again["rows_embedded"]) == (0, 0), again.errors
        schemas = [pq.read_schema(path) for path in sorted((output / "data").glob("*.parquet"))]
        assert all(schema.equals(schemas[0]) for schema in schemas) and schemas[0].equals(pq.read_schema(next((whole.output / "data").glob("*.parquet"))))
        return schemas[0]

    def test_ids_that_were_all_null(self, embed: Embed, command: Command, tmp_path: Path) -> None:
        self.write(tmp_path, "a.jsonl", [{"id": None, "text": f"text {row}"} for row in range(30)])
        self.write(tmp_path, "b.jsonl", [{"id": None, "text": f"other text {row}"} for row in range(5)])
        corpus = self.corpus(tmp_path)
        assert embed(corpus=corpus).code == 3
        self.write(tmp_path, "a.jsonl", [{"id": row, "text": f"text {row}"} for row in range(30)])
        self.write(tmp_path, "b.jsonl", [{"id": 100 + row, "text": f"other text {row}"} for row in range(5)])
        resumed = embed(corpus=corpus)
        assert resumed.code == 3 and f"`embermill redrive {tmp_path / 'out'}`" in resumed.errors
        answer = command("redrive", str(tmp_path / "out"))
        assert self.same_as_whole(embed, command, answer, tmp_path / "out", corpus).field("id").type == pa.int64()

    def test_ids_and_kept_columns_of_parquet_files_without_a_type(self, embed: Embed, command: Command, tmp_path: Path) -> None:
        (tmp_path / "corpus").mkdir()
        texts = [f"text {row}" for row in range(9)]
        pq.write_table(pa.table({"id": pa.nulls(9), "text": texts, "score": pa.nulls(9)}), tmp_path / "corpus/a.parquet")
        corpus = self.corpus(tmp_path, keep_columns=["score"])
        assert embed(corpus=corpus).code == 3
        pq.write_table(pa.table({"id": pa.array(range(9), pa.int32()), "text": texts, "score": [0.5] * 9}), tmp_path / "corpus/a.parquet")
        answer = command("redrive", str(tmp_path / "out"))
        schema = self.same_as_whole(embed, command, answer, tmp_path / "out", corpus)
        assert (schema.field("id").type, schema.field("score").type) == (pa.int32(), pa.float64())

    def test_ids_that_no_row_had_at_all(self, embed: Embed, command: Command, tmp_path: Path) -> None:
        """No row is known by its position yet, either."""
        self.write(tmp_path, "a.jsonl", [{"text": None} for _ in range(3)])
        corpus = self.corpus(tmp_path)
        assert embed(corpus=corpus).code == 3
        self.write(tmp_path, "a.jsonl", [{"id": row, "text": f"text {row}"} for row in range(3)])
        answer = command("redrive", str(tmp_path / "out"))
        assert self.same_as_whole(embed, command, answer, tmp_path / "out", corpus).field("id").type == pa.int64()

    def test_a_kept_column_that_every_committed_row_has_as_null(
        self, embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rows keep their vectors; their shards are written again."""
        monkeypatch.chdir(tmp_path)
        good = [{"id": f"a{row}", "text": f"text {row}", "score": None} for row in range(30)]
        self.write(tmp_path, "a.jsonl", good)
        self.write(tmp_path, "b.jsonl", [{"id": "b0", "text": "other text", "score": None}], raw="{\n")
        corpus = self.corpus(tmp_path, keep_columns=["score"])
        settings: dict[str, Any] = {"corpus": corpus, "model": {"engine": "python:tests.jobs.poison:CountingEngine"}}
        assert embed(engine=None, **settings).code == 3 and len(texts_seen()) == 31
        self.write(tmp_path, "b.jsonl", [{"id": "b0", "text": "other text", "score": 3}, {"id": "b1", "text": "one more", "score": 4}])
        with monkeypatch.context() as patched:
            patched.setattr("embermill.jobs.run._Job._embed", _raise_keyboard_interrupt)
            assert command("redrive", str(tmp_path / "out")).code == 33
        answer = command("redrive", str(tmp_path / "out"))
        assert answer.code == 0 and set(texts_seen().values()) == {1} and len(texts_seen()) == 32, answer.errors
        whole = embed(engine=None, output="whole", **settings)
        assert poison.dataset_rows(tmp_path / "out") == poison.dataset_rows(whole.output) and command("verify", str(tmp_path / "out")).code == 0
        assert {pq.read_schema(path).field("score").type for path in (tmp_path / "out/data").glob("*.parquet")} == {pa.int64()}

    def test_a_run_that_was_killed_before_its_first_commit(self, embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "corpus").mkdir()
        texts = [f"text {row}" for row in range(9)]
        pq.write_table(pa.table({"id": pa.nulls(9), "text": texts}), tmp_path / "corpus/a.parquet")
        corpus = self.corpus(tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr("embermill.jobs.run._Job._drive", _raise_keyboard_interrupt)
            assert embed(corpus=corpus).code == 33
        pq.write_table(pa.table({"id": range(9), "text": texts}), tmp_path / "corpus/a.parquet")
        resumed = embed(corpus=corpus)
        assert resumed.code == 3 and "column 'id' has type int64, and this dataset has it as string" in resumed.errors
        assert f"run `embermill redrive {tmp_path / 'out'}`" in resumed.errors
        answer = command("redrive", str(tmp_path / "out"))
        assert self.same_as_whole(embed, command, answer, tmp_path / "out", corpus).field("id").type == pa.int64()

    def test_a_type_that_a_committed_row_has_stays_and_the_message_begins_with_what_to_do(self, embed: Embed, command: Command, tmp_path: Path) -> None:
        self.write(tmp_path, "a.jsonl", [{"id": f"a{row}", "text": f"text {row}", "score": "high"} for row in range(30)])
        self.write(tmp_path, "b.jsonl", [{"id": "b0", "text": "other text", "score": None}], raw="{\n")
        corpus = self.corpus(tmp_path, keep_columns=["score"])
        assert embed(corpus=corpus).code == 3
        self.write(tmp_path, "b.jsonl", [{"id": "b0", "text": "other text", "score": 3}])
        answer = command("redrive", str(tmp_path / "out"))
        advice = f"fix {tmp_path / 'corpus/b.jsonl'}, or embed the corpus as it is now into another output.uri, with corpus.on_schema_drift: cast: "
        said = answer.errors.splitlines()[-1]
        assert (answer.code, said) == (3, f"embermill: {advice}its column 'score' has type int64, and this dataset has it as string")
        other = embed(corpus=corpus | {"on_schema_drift": "cast"}, output="other")
        assert (other.code, other["rows_out"]) == (0, 31), other.errors
        self.write(tmp_path, "b.jsonl", [{"id": "b0", "text": "other text", "score": "3"}])
        self.same_as_whole(embed, command, command("redrive", str(tmp_path / "out")), tmp_path / "out", corpus)


class TestRefused:
    def test_a_finished_dataset(self, embed: Embed, command: Command, tmp_path: Path) -> None:
        (tmp_path / "corpus").mkdir()
        pq.write_table(pa.table({"id": ["a"], "text": ["x"]}), tmp_path / "corpus/a.parquet")
        assert embed().code == 0
        answer = command("redrive", str(tmp_path / "out"))
        assert answer.code == 2 and "this dataset is finished" in answer.errors and "another output.uri" in answer.errors

    def test_no_dataset(self, command: Command, tmp_path: Path) -> None:
        answer = command("redrive", str(tmp_path))
        assert answer.code == 2 and "there is no dataset here" in answer.errors

    def test_other_vectors(self, embed: Embed, command: Command, tmp_path: Path) -> None:
        (tmp_path / "corpus").mkdir()
        pq.write_table(pa.table({"id": ["a", None], "text": ["x", "y"]}), tmp_path / "corpus/a.parquet")
        assert embed(corpus={"max_quarantined": 0}).code == 3
        answer = command("redrive", str(tmp_path / "out"), "--set", "corpus.text_separator= ")
        assert answer.code == 2 and "corpus.text_separator" in answer.errors
        answer = command("redrive", str(tmp_path / "out"), "--set", "corpus.max_quarantined=1")
        assert (answer.code, answer["rows_quarantined"]) == (0, 1), answer.errors


def test_its_plan_damaged_beyond_repair_the_advice_leads_to_a_whole_dataset(embed: Embed, command: Command, tmp_path: Path) -> None:
    """Partitions of the second generation belong to no plan that could be made again; what both have in common is adopted."""
    (tmp_path / "corpus").mkdir()
    for name in "abcdefgh":
        lines = [json.dumps({"id": f"{name}{row}", "text": f"text {row} of {name}"}) for row in range(20)]
        (tmp_path / f"corpus/{name}.jsonl").write_text("\n".join([*lines, *(["{"] if name == "h" else [])]) + "\n")
    corpus = {"files": [str(tmp_path / "corpus")], "max_quarantined": 0, "partition_text_bytes": 200}
    assert embed(corpus=corpus).code == 3
    (tmp_path / "corpus/h.jsonl").write_text("\n".join(lines) + "\n")
    output = tmp_path / "out"
    assert command("redrive", str(output)).code == 0
    for path in (output / "_embermill/plan/000002").rglob("root.json"):
        path.write_bytes(b"junk")
    for answer in (embed(corpus=corpus), command("verify", str(output)), command("repair", str(output))):
        assert answer.code == 3 and "move what is there of _embermill/plan, _embermill/commits and _embermill/manifests away" in answer.errors
    for name in ("plan", "commits", "manifests"):
        (output / "_embermill" / name).rename(tmp_path / name)
    for answer in (embed(corpus=corpus), command("verify", str(output))):
        assert answer.code == 3 and f"run `embermill repair {output}`" in answer.errors, answer.errors
    assert command("repair", str(output)).code == 0
    answer = embed(corpus=corpus)
    assert answer.code == 0 and 0 < answer["rows_embedded"] < answer["rows_out"] == 160, answer.errors
    assert command("verify", str(output)).code == 0
    assert poison.dataset_rows(output) == poison.dataset_rows(embed(corpus=corpus, output="whole").output)
