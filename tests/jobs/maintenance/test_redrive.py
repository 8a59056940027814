"""`embermill redrive`: what was refused is corrected, and the dataset is finished with every good row's vector kept."""

from __future__ import annotations

import contextlib
import json
import os
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

    def test_killed_on_the_way_it_is_resumed_by_run(self, embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
