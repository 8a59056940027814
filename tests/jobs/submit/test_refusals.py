"""What is refused with no cluster asked: names, addresses, paths of this machine, code that is not sent."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.cli import build_parser
from embermill.jobs.config import JobConfig, read_config
from embermill.jobs.errors import UsageError
from embermill.jobs.pool.placement import Node
from embermill.jobs.submit import package
from embermill.jobs.submit.cluster import resolve_address
from embermill.jobs.submit.endings import JobEnded, Submission, require_success
from embermill.jobs.submit.fitness import Found, require_fit
from embermill.jobs.submit.names import PATTERN, find_submission, job_name, next_attempt
from embermill.jobs.submit.refusals import require_portable
from tests.jobs.command_line import command

URLS: dict[str, dict[str, Any]] = {
    "model": {"source": "org/model"},
    "corpus": {"files": ["s3://corpus/*.parquet"]},
    "output": {"uri": "s3://datasets/articles"},
    "workers": {"device": "cpu"},
}


def config(**sections: dict[str, Any]) -> JobConfig:
    return JobConfig.model_validate({name: values | sections.get(name, {}) for name, values in URLS.items()})


def submission(name: str = "a", attempt: int = 1, status: str = "SUCCEEDED", exit_code: int | None = 0, **fields: Any) -> Submission:
    held: dict[str, Any] = {"message": "", "error_type": "", "submitted_s": 1.0, "ended_s": 2.0, "output": "s3://o/a"} | fields
    return Submission(name, attempt, f"{name}-{attempt}", status, exit_code, **held)


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"corpus": {"files": ["s3://corpus/a.parquet", "data/*.jsonl"]}}, "corpus.files: data/"),
        ({"output": {"uri": "out"}}, "output.uri: out"),
        ({"output": {"uri": "~/out"}}, "output.uri: ~/out"),
        ({"model": {"source": "./model"}}, "model.source: ./model"),
        ({"model": {"source": "model"}}, "model.source: model"),
    ],
)
def test_paths_of_this_machine_are_refused(tmp_path: Path, sections: dict[str, dict[str, Any]], named: str) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(UsageError) as refused:
        require_portable(config(**sections), tmp_path, None)
    assert named in str(refused.value) and "every node" in str(refused.value)


def test_urls_hub_ids_and_absolute_paths_are_taken(tmp_path: Path) -> None:
    require_portable(config(), tmp_path, None)
    require_portable(config(corpus={"files": ["/mnt/corpus/*.jsonl"]}, output={"uri": "/mnt/out"}, model={"source": "/mnt/model"}), tmp_path, None)


def test_an_output_within_the_corpus_is_refused_in_the_words_of_plan(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the dataset would be taken for corpus"):
        require_portable(config(corpus={"files": ["/mnt/**"]}, output={"uri": "/mnt/out"}), tmp_path, None)


def test_the_code_of_an_engine_is_sent_or_installed_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mine.py").touch()
    asked = config(model={"source": None, "engine": "python:mine:Engine"})
    with pytest.raises(UsageError, match="add --working-dir"):
        require_portable(asked, tmp_path, None)
    require_portable(asked, tmp_path, tmp_path)
    (tmp_path / "empty").mkdir()
    require_portable(asked, tmp_path / "empty", tmp_path / "empty")
    assert "must be installed on every node" in caplog.text


@pytest.mark.parametrize(
    ("given", "said"),
    [("ray://head:10001", "8265"), ("auto", "8265"), ("http://", "8265"), ("http://me:secret@head:8265", "credentials"), ("http://head:x", "8265")],
)
def test_addresses_that_are_none(given: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        resolve_address(given)
    assert "secret" not in str(refused.value)


def test_an_address_may_come_from_the_environment_and_lack_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    with pytest.raises(UsageError, match="--address is missing"):
        resolve_address(None)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://other:8265/")
    assert resolve_address(None) == "http://other:8265" and resolve_address("head:8265") == "http://head:8265"


def test_nobody_listens(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(URLS))
    answer = command("submit", str(tmp_path / "job.yaml"), "--address", "http://127.0.0.1:9")
    assert answer.code == 2 and "nothing is listening there" in answer["error"]["message"]


@given(st.text(max_size=80))
def test_every_dataset_gives_a_name(last: str) -> None:
    assert PATTERN.fullmatch(job_name(None, f"s3://bucket/{last}"))


@pytest.mark.parametrize("given", ["", "-a", "a b", "a/b", "é", "a" * 61, "a\n"])
def test_names_that_are_none(given: str) -> None:
    with pytest.raises(UsageError, match="expected up to 60"):
        job_name(given, "s3://bucket/a")


def test_attempts_of_a_name_are_counted_and_never_take_an_id_twice() -> None:
    assert next_attempt("a", []) == (1, "a-1")
    assert next_attempt("a", [submission("a", 1), submission("a", 2)]) == (3, "a-3")
    assert next_attempt("a", [submission("a", 1), Submission("b", 1, "a-2", "FAILED", 2, "", "", None, None, "")]) == (3, "a-3")


def test_a_job_is_found_by_name_then_by_id() -> None:
    jobs = [submission("a", 1), submission("a", 2), submission("b", 1)]
    assert (find_submission("a", jobs).id, find_submission("a-1", jobs).id) == ("a-2", "a-1")
    with pytest.raises(UsageError, match="known there: a, b"):
        find_submission("c", jobs)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (Found("2.40.0", "3.12.1", (Node(8, 0),)), "Ray 2.40.0: expected 2.55"),
        (Found("2.60.0", "3.10.4", (Node(8, 0),)), "Python 3.10.4: expected 3.11 to 3.14"),
        (Found("2.60.0", "3.15.0", (Node(8, 0),)), "Python 3.15.0"),
    ],
)
def test_a_wrong_version_is_refused(found: Found, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        require_fit(found, config().workers)


def test_a_cluster_that_fits() -> None:
    require_fit(Found("3.0.0rc1", None, (Node(8, 0),)), config().workers)
    with pytest.raises(UsageError, match="no node of this cluster has a GPU"):
        require_fit(Found("2.60.0", "3.11.2", (Node(8, 0),)), config(workers={"device": "auto"}).workers)


def test_the_oldest_versions_are_those_of_the_package() -> None:
    from importlib.metadata import metadata

    from embermill.jobs.submit.fitness import OLDEST_PYTHON, OLDEST_RAY, dotted

    about = metadata("embermill")
    assert f"ray>={dotted(OLDEST_RAY)}" in about.get_all("Requires-Dist", []) and about["Requires-Python"] == f">={dotted(OLDEST_PYTHON)}"


@pytest.mark.parametrize(
    ("status", "exit_code", "error_type", "code"),
    [
        ("SUCCEEDED", 0, "", 0), ("FAILED", 2, "", 2), ("FAILED", 3, "", 3), ("FAILED", 4, "", 4), ("FAILED", 33, "", 33), ("FAILED", 1, "", 1),
        ("FAILED", 7, "", 1), ("FAILED", 127, "", 2), ("FAILED", -9, "", 33), ("FAILED", 137, "", 33), ("FAILED", None, "JOB_SUPERVISOR_ACTOR_DIED", 33),
        ("FAILED", None, "RUNTIME_ENV_SETUP_FAILURE", 2), ("STOPPED", None, "", 33), ("RUNNING", None, "", None), ("PENDING", None, "", None),
    ],
)  # fmt: skip
def test_what_each_end_means(status: str, exit_code: int | None, error_type: str, code: int | None) -> None:
    job = submission(status=status, exit_code=exit_code, error_type=error_type, message="why\nand where")
    assert job.code == code
    if code:
        with pytest.raises(JobEnded) as ended:
            require_success(job, "last words")
        assert ended.value.exit_code == code and "a-1" in str(ended.value)
    else:
        require_success(job, "")


def test_what_is_sent_runs_there_as_it_was_meant_here(tmp_path: Path) -> None:
    asked = config(corpus={"keep_columns": ["lang", {"a": "b"}], "types": {"lang": "string"}, "id_column": "key"})
    package.complete_archive(tmp_path / "a.zip", asked)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {*archive.namelist()} == {package.CONFIG, package.SCRIPT}
        archive.extractall(tmp_path)
    arrived = read_config(tmp_path / package.CONFIG)
    assert arrived == asked.model_copy(update={"ray": arrived.ray}) and arrived.ray.address == "auto"
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr(package.CONFIG, "mine")
    with pytest.raises(UsageError, match="rename it"):
        package.complete_archive(tmp_path / "b.zip", asked)


def test_the_same_job_is_the_same_archive(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        package.complete_archive(tmp_path / name, config())
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("one_node", [True, False])
def test_the_entrypoint_is_a_command_of_ours(one_node: bool) -> None:
    words = package.entrypoint(one_node=one_node).split()
    assert words[:3] == ["exec", "python3", package.SCRIPT]
    parsed = build_parser().parse_args(words[4 if one_node else 3 :])
    assert (parsed.name, parsed.config, parsed.json, parsed.progress) == ("run", package.CONFIG, True, "record")
