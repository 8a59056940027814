"""Relative paths: told in absolute form when a job starts, and refused where Ray would throw the dataset away."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from embermill.jobs.config import load_config
from embermill.jobs.errors import UsageError
from tests.jobs.command_line import command

JOB = "model: {engine: 'python:tests.jobs.word_engines:WordEngine'}\ncorpus: {files: [corpus, 's3://bucket/a']}\noutput: {uri: %s}\n"


def write(folder: Path, uri: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "corpus").mkdir(exist_ok=True)
    (folder / "corpus/a.txt").write_text("a text\n")
    path = folder / "job.yaml"
    path.write_text(JOB % uri)
    return path


def test_relative_paths_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO, "embermill.jobs"):
        load_config(write(tmp_path, "out"))
    assert [record.getMessage() for record in caplog.records] == [f"corpus.files: corpus is {tmp_path}/corpus", f"output.uri: out is {tmp_path}/out"]


@pytest.mark.parametrize("name", ["run", "plan"])
def test_a_relative_output_in_rays_copy_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    copy = tmp_path / "session_2026/runtime_resources/working_dir_files/_ray_pkg_0123"
    job = write(copy, "out")
    monkeypatch.chdir(copy)
    answer = command(name, str(job))
    assert answer.code == 2 and "output.uri: out is relative to" in answer.errors and "an absolute path that all nodes share, or a URL" in answer.errors
    assert not (copy / "out").exists()
    for uri in (str(tmp_path / "out"), "s3://bucket/out"):
        assert load_config(write(copy, uri)).output.uri == uri
    with pytest.raises(UsageError, match=r"output\.uri: \./out"):
        load_config(write(copy, "./out"))


@pytest.mark.parametrize("uri", ["$HOME/emb", "${HOME}/emb", "data/$USER/emb"])
def test_a_variable_that_no_shell_has_replaced(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("model: {source: a}\ncorpus: {files: [a]}\noutput: {uri: out}\n")
    with pytest.raises(UsageError, match=r"output\.uri: .* is not replaced here, and would be a folder of that name: write the path itself"):
        load_config("job.yaml", [f"output.uri={uri}"])
    (tmp_path / uri).mkdir(parents=True)
    assert load_config("job.yaml", [f"output.uri={uri}"]).output.uri == str(tmp_path / uri), "a dataset may stand there"
    assert load_config("job.yaml", ["output.uri=a$b"]).output.uri == str(tmp_path / "a$b")
