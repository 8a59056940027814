"""Advice that a message gives is followed to the letter, and helps. Damaged metadata has its own table (test_damage.py), declared types theirs
(test_column_types.py).

A case makes something go wrong, names the words that advise, and does what they say; then the same command ends well.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.commands.answers import show_status
from embermill.jobs.commands.html_report import show_report
from embermill.jobs.commands.versions import show_history
from tests.jobs.command_line import Answer, open_inline_pool

Embed = Callable[..., Answer]
Command = Callable[..., Answer]
Do = Callable[[Path], Any]


def parquet(folder: Path, name: str = "a", **columns: Any) -> None:
    (folder / "corpus").mkdir(exist_ok=True)
    pq.write_table(pa.table(columns or {"id": ["a", "b"], "text": ["x", "y"]}), folder / f"corpus/{name}.parquet")


def lines(folder: Path, *rows: Any, name: str = "a.jsonl") -> None:
    (folder / "corpus").mkdir(exist_ok=True)
    (folder / "corpus" / name).write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


@dataclass(frozen=True)
class Case:
    """words: the advice. prepare: what goes wrong. then: what the words say, in the folder; settings then: in the configuration (`output` of another one)."""

    words: str
    prepare: Do
    settings: dict[str, Any] = field(default_factory=dict)
    then: Do = lambda folder: None
    then_settings: dict[str, Any] = field(default_factory=dict)
    code: int = 2
    redrive: bool = False


ONE_GOOD = {"id": "a", "text": "x"}
JSONL = {"files": ["{here}/corpus/*.jsonl"]}
CASES = {
    "no such file": Case("matches no file", lambda here: (here / "corpus").mkdir(), then=parquet),
    "unknown ending": Case(
        "set corpus.format", lambda here: lines(here, ONE_GOOD, name="a.tsv"), {"corpus": {"files": ["{here}/corpus"]}},
        then_settings={"corpus": {"files": ["{here}/corpus"], "format": "jsonl"}},
    ),
    "unknown ending, by a glob": Case(
        "name the files by a glob", lambda here: (lines(here, ONE_GOOD), lines(here, "x", name="a.tsv")), {"corpus": {"files": ["{here}/corpus"]}},
        then_settings={"corpus": JSONL},
    ),
    "a kept column that collides": Case(
        "keep_columns: [{embedding: source_embedding}]", lambda here: parquet(here, id=["a"], text=["x"], embedding=["e"]),
        {"corpus": {"keep_columns": ["embedding"]}}, then_settings={"corpus": {"keep_columns": [{"embedding": "source_embedding"}]}},
    ),
    "CSV with semicolons": Case(
        'set corpus.delimiter: ";"', lambda here: lines(here, "id;text", "a;one, and two", name="a.csv"), {"corpus": {"files": ["{here}/corpus/*.csv"]}},
        then_settings={"corpus": {"files": ["{here}/corpus/*.csv"], "delimiter": ";"}},
    ),
    "CSV with tabs": Case(
        'set corpus.delimiter: "\\t"', lambda here: lines(here, "id\ttext", "a\tx", name="a.csv"), {"corpus": {"files": ["{here}/corpus/*.csv"]}},
        then_settings={"corpus": {"files": ["{here}/corpus/*.csv"], "delimiter": "\t"}},
    ),
    "no such column": Case(
        "the columns there are: id, body", lambda here: parquet(here, id=["a"], body=["x"]), then_settings={"corpus": {"text_columns": ["body"]}}
    ),
    "equal names": Case(
        "or name one folder that holds both",
        lambda here: [(here / part).mkdir(parents=True) or pq.write_table(pa.table({"text": ["x"]}), here / part / "x.parquet") for part in ("in/a", "in/b")],
        {"corpus": {"files": ["{here}/in/a", "{here}/in/b"]}}, then_settings={"corpus": {"files": ["{here}/in"]}},
    ),
    "ids that are fractions": Case(
        "expected a string or an integer: name another column", lambda here: parquet(here, id=[1.5], key=["k"], text=["x"]),
        then_settings={"corpus": {"id_column": "key"}},
    ),
    "an unreadable file": Case(
        "fix or remove them, or set corpus.on_bad_file: quarantine",
        lambda here: (parquet(here), (here / "corpus/b.parquet").write_bytes(b"PAR1")), then_settings={"corpus": {"on_bad_file": "quarantine"}}, code=3,
    ),
    "an unreadable file, removed": Case(
        "fix or remove them", lambda here: (parquet(here), (here / "corpus/b.parquet").write_bytes(b"PAR1")),
        then=lambda here: (here / "corpus/b.parquet").unlink(), code=3,
    ),
    "another type": Case(
        "set corpus.on_schema_drift to cast or null", lambda here: (parquet(here), parquet(here, "b", id=[1], text=["z"])),
        then_settings={"corpus": {"on_schema_drift": "cast"}}, code=3,
    ),
    "too much quarantined, with a higher limit": Case(
        "run again with corpus.max_quarantined: 2 or more", lambda here: lines(here, ONE_GOOD, "{", "{"), {"corpus": JSONL | {"max_quarantined": 0}},
        then_settings={"corpus": JSONL | {"max_quarantined": 2}}, code=3,
    ),
    "too much quarantined, corrected": Case(
        "fix the corpus and run `embermill redrive", lambda here: lines(here, ONE_GOOD, "{"), {"corpus": JSONL | {"max_quarantined": 0}},
        then=lambda here: lines(here, ONE_GOOD, {"id": "b", "text": "y"}), code=3, redrive=True,
    ),
    "other settings": Case(
        "Set them back, or choose another output.uri", lambda here: parquet(here), {"corpus": {"text_separator": " "}}, then_settings={"output": "another"}
    ),
    "the corpus is a dataset": Case(
        "to embed that dataset itself, name its data/*.parquet", lambda here: parquet(here), {"corpus": {"files": ["{here}/made"]}},
        then_settings={"corpus": {"files": ["{here}/made/data/*.parquet"], "text_columns": ["text_hash"]}},
    ),
    "the output lies within the corpus": Case(
        "put it elsewhere, or name the corpus more narrowly", lambda here: parquet(here), {"corpus": {"files": ["{here}"]}, "output": "out"},
        then_settings={"corpus": {"files": ["{here}/corpus"]}},
    ),
}  # fmt: skip


def _filled(value: Any, here: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{here}", str(here))
    if isinstance(value, dict):
        return {key: _filled(each, here) for key, each in value.items()}
    return [_filled(each, here) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CASES)
def test_what_is_advised_helps(embed: Embed, command: Command, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    case.prepare(tmp_path)
    if name in ("other settings", "the corpus is a dataset"):
        made = embed(output="made")
        assert made.code == 0, made.errors
        if name == "other settings":
            shutil.move(tmp_path / "made", tmp_path / "out")
    answer = embed(**_filled(case.settings, tmp_path))
    assert answer.code == case.code and case.words in answer.errors, answer.errors
    case.then(tmp_path)
    settings = case.settings if not case.then_settings else case.then_settings
    helped = command("redrive", str(answer.output)) if case.redrive else embed(**_filled(settings, tmp_path))
    assert helped.code == 0, helped.errors


def test_a_lost_shard_is_told_with_what_helps(embed: Embed, command: Command, tmp_path: Path) -> None:
    parquet(tmp_path)
    output = embed().output
    (shard,) = (output / "data").iterdir()
    shard.unlink()
    for answer in (embed(), command("verify", str(output))):
        assert answer.code == 3 and "Run `embermill repair`" in answer.errors
    assert command("repair", str(output)).code == 0
    assert embed().code == 0 and command("verify", str(output)).code == 0


def test_a_file_that_changed_is_told_with_what_helps(embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines(tmp_path, *({"id": str(row), "text": f"text {row}"} for row in range(20)))
    with monkeypatch.context() as stopped, contextlib.suppress(KeyboardInterrupt):
        stopped.setattr("embermill.jobs.run.publish_manifest", _interrupted)
        embed(corpus=_filled(JSONL, tmp_path))
    lines(tmp_path, *({"id": str(row), "text": f"other {row}"} for row in range(20)))
    answer = embed(corpus=_filled(JSONL, tmp_path))
    assert answer.code == 3 and f"run `embermill redrive {tmp_path / 'out'}` to finish this dataset" in answer.errors
    assert "embed the corpus as it is now into another output.uri" in answer.errors
    assert embed(corpus=_filled(JSONL, tmp_path), output="another").code == 0
    assert command("redrive", str(tmp_path / "out")).code == 0 and command("verify", str(tmp_path / "out")).code == 0


def test_status_names_what_finishes_a_dataset_with_too_many_refused_rows(embed: Embed, command: Command, tmp_path: Path) -> None:
    lines(tmp_path, ONE_GOOD, "{")
    answer = embed(corpus=_filled(JSONL | {"max_quarantined": 0}, tmp_path))
    assert answer.code == 3 and "1 of 2 rows was quarantined" in answer.errors
    found = command("status", str(answer.output))
    assert found["too_many_quarantined"] and f"`embermill redrive {answer.output}`" in show_status(json.loads(found.stdout))
    lines(tmp_path, ONE_GOOD, {"id": "b", "text": "y"})
    assert command("redrive", str(answer.output)).code == 0 and not command("status", str(answer.output))["too_many_quarantined"]


@pytest.mark.parametrize("limit", [0.01, 0.99, 3])
@pytest.mark.parametrize("bad", [[{"text": "x"}, "{", {"id": None, "text": "y"}], [{"id": "a", "text": None}, {"id": "b"}]], ids=["ids", "texts"])
def test_of_a_corpus_without_a_good_row_nothing_is_finished_and_the_advice_helps(
    embed: Embed, command: Command, tmp_path: Path, limit: float, bad: list[Any]
) -> None:
    """Whatever corpus.max_quarantined allows, and however often it is run."""
    lines(tmp_path, *bad)
    for _ in range(2):
        answer = embed(corpus=_filled(JSONL | {"max_quarantined": limit}, tmp_path))
        assert answer.code == 3 and f"no row of the corpus was embedded: all {len(bad)} rows were quarantined" in answer.errors, answer.errors
        assert f"run `embermill redrive {answer.output}`" in answer.errors and not [*answer.output.glob("_embermill/manifests/*")]
    found = command("status", str(answer.output))
    words = show_status(json.loads(found.stdout))
    assert found["too_many_quarantined"] and "every row was quarantined" in words and f"`embermill redrive {answer.output}`" in words
    assert command("plan", f"{answer.output}.yaml").code == 3
    if limit == 3:
        _require_told_by_every_reader(command, answer.output, len(bad))
    assert command("redrive", str(answer.output)).code == 3, "nothing was fixed yet"
    lines(tmp_path, *({"id": str(number), "text": "y"} for number, _ in enumerate(bad)))
    helped = command("redrive", str(answer.output))
    assert (helped.code, helped["rows_out"], helped["rows_quarantined"]) == (0, len(bad), 0) and command("verify", str(answer.output)).code == 0


def _require_told_by_every_reader(command: Command, dataset: Path, rows: int) -> None:
    """How many were refused, where the reasons are, and what to do: of each command that reads a dataset, as the run said it."""
    place, words = str(dataset), f"no row of the corpus was embedded: all {rows} rows were quarantined, see quarantine/ for the reasons (the first: "
    for refused in (["verify", place], ["search", place, "cats"]):
        found = command(*refused)
        assert found.code == found["error"]["exit_code"] == 3 and not found["finished"]
        assert words in found.errors and f"`embermill redrive {dataset}`" in found.errors, found.errors
    for show, told in (
        (show_history, command("history", place)), (show_report, command("report", place, "--out", str(dataset.parent / "report.html"))),
    ):  # fmt: skip
        said = show(json.loads(told.stdout))
        assert told.code == 0 and words in said and f"`embermill redrive {dataset}`" in said, said
    page = (dataset.parent / "report.html").read_text()
    assert f"no row of the corpus was embedded: all {rows} rows were quarantined" in page
    for refused in (
        ["load", place, f"duckdb:{dataset}.db"], ["export", place, "--format", "npy", "--out", f"{dataset}-npy"], ["changes", place, "--since", "0"],
        ["files", place], ["check", place, "--for", "qdrant"], ["compact", place], ["rollback", place, "--to", "1"],
    ):  # fmt: skip
        found = command(*refused)
        assert found.code == 2 and f"there is no version of this dataset yet: {words}" in found.errors, (refused, found.errors)
    assert not Path(f"{dataset}.db").exists()


def test_a_dataset_of_which_nothing_is_committed(embed: Embed, command: Command, tmp_path: Path) -> None:
    lines(tmp_path, ONE_GOOD)
    answer = embed(corpus=_filled(JSONL, tmp_path))
    for part in ("manifests", "commits"):
        shutil.rmtree(answer.output / "_embermill" / part)
    for looked in (["verify", str(answer.output)], ["search", str(answer.output), "cats"]):
        found = command(*looked)
        assert found.code == found["error"]["exit_code"] == 33 and not found["finished"], found.errors
        assert "nothing is committed yet: finish it with `embermill run` first" in found.errors, found.errors
    assert embed(corpus=_filled(JSONL, tmp_path)).code == 0
    assert command("verify", str(answer.output)).code == 0 and len(command("search", str(answer.output), "cats")["hits"]) == 1


def test_a_finished_dataset_is_not_redriven_and_a_sync_does_it(embed: Embed, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.sync.stages.open_pool", open_inline_pool)
    lines(tmp_path, ONE_GOOD, {"id": "b", "text": "poison"})
    answer = embed(engine="PoisonEngine", corpus=_filled(JSONL, tmp_path))
    assert (answer.code, answer["rows_quarantined"]) == (0, 1)
    refused = command("redrive", str(answer.output))
    assert refused.code == 2 and "`embermill sync CONFIG` embeds what changed" in refused.errors and "with --retry-quarantined also" in refused.errors
    monkeypatch.setenv("EMBERMILL_TEST_CURED", "1")
    helped = command("sync", f"{answer.output}.yaml", "--retry-quarantined")
    assert (helped.code, helped["rows"], helped["rows_new"]) == (0, 2, 1), helped.errors


def _interrupted(*arguments: object) -> None:
    raise KeyboardInterrupt
