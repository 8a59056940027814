"""Where a dataset may be begun: `plan` says what `run` and `sync` say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.jobs.command_line import Answer, open_inline_pool, run

COMMANDS = ("plan", "run", "sync")


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/a.jsonl").write_text(json.dumps({"id": "a", "text": "one"}) + "\n")


def embed(root: Path, name: str, output: str) -> Answer:
    return run(root, name=name, corpus={"files": [str(root / "corpus/*.jsonl")]}, output_section={"uri": output})


@pytest.mark.parametrize("name", COMMANDS)
def test_no_dataset_is_begun_in_the_root_or_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(tmp_path)
    up = "/".join([".."] * len(tmp_path.parts))
    for output, place, what in (
        ("/", "/", "the root of the file system"), (up, "/", "the root of the file system"),
        ("~", home, "your home folder"), ("corpus/../home", home, "your home folder"),
    ):  # fmt: skip
        refused = embed(tmp_path, name, output)
        assert refused.code == 2 and f"output.uri: {place} is {what}" in refused.errors, refused.errors
        assert "expected a folder for the dataset alone: name a new one, for example" in refused.errors
    assert not [*home.iterdir()]
    assert embed(tmp_path, name, refused.errors.strip().rpartition(" ")[2]).code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_files_of_others_are_told_before_anything_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    out = tmp_path / "theirs"
    out.mkdir()
    for each in (".hidden", "b.txt", "a.txt", "c", "d"):
        (out / each).write_text("theirs")
    assert embed(tmp_path, name, str(out)).code == 0
    said = f"output.uri: {out} is no dataset yet and holds other files already (a.txt, b.txt, c, …): data/, _embermill/ and other files"
    assert sum(said in line for line in caplog.messages) == 1
    if name != "plan":
        caplog.clear()
        assert embed(tmp_path, name, str(out)).code == 0 and "holds other files" not in caplog.text, "of a dataset that stands nothing is said"
    caplog.clear()
    assert embed(tmp_path, name, str(tmp_path / "new")).code == 0 and "holds other files" not in caplog.text


def test_what_a_file_system_puts_at_its_root_is_nobodys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "volume/lost+found").mkdir(parents=True)
    assert embed(tmp_path, "run", str(tmp_path / "volume")).code == 0 and "holds other files" not in caplog.text


@pytest.mark.parametrize("folder", ["data", "quarantine", "changes", "bases"])
def test_folders_where_ours_would_lie(tmp_path: Path, folder: str) -> None:
    (tmp_path / "out" / folder).mkdir(parents=True)
    (tmp_path / "out" / folder / "theirs").write_text("theirs")
    for name in COMMANDS:
        refused = embed(tmp_path, name, str(tmp_path / "out"))
        assert refused.code == 2 and f"holds a folder {folder}/ that no dataset of ours made: choose another output.uri" in refused.errors, refused.errors
    assert embed(tmp_path, "run", str(tmp_path / "another")).code == 0
