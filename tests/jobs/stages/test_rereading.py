"""A corpus file that is no longer what was planned, between stop and resume: the same rows resume, others are refused; however its size and time look."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.dataset.views.verify import verify
from embermill.jobs.errors import InputChanged, Interrupted
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import open_inline_pool
from tests.jobs.engines import InterruptingEngine

ROWS = 120
Configure = Callable[..., JobConfig]


@pytest.fixture(autouse=True)
def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)


def text_of(row: int) -> str:
    return f"text number {row:04d}"


@pytest.fixture(params=["jsonl", "parquet", "txt"])
def corpus(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"corpus/a.{request.param}"
    path.parent.mkdir()
    write(path, [text_of(row) for row in range(ROWS)])
    return path


def write(path: Path, texts: list[str]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts}), path, row_group_size=40, use_dictionary=False, compression="none")
    else:
        path.write_text("".join((f'{{"text": "{text}"}}' if path.suffix == ".jsonl" else text) + "\n" for text in texts))


@pytest.fixture
def interrupted(corpus: Path, tmp_path: Path) -> JobConfig:
    """A job that was stopped after its first partitions."""
    config = configured(tmp_path, str(corpus), "out")
    InterruptingEngine.after = 3
    with pytest.raises(Interrupted):
        run(config)
    return config


def configured(folder: Path, files: str, name: str) -> JobConfig:
    sections: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:tests.jobs.engines:InterruptingEngine"},
        "corpus": {"files": [files], "partition_text_bytes": 400},
        "output": {"uri": name if "://" in name else str(folder / name)},
    }
    return JobConfig.model_validate(sections)


def edit_in_place(path: Path, old: str, new: str) -> None:
    """With its old size, inode and modification time."""
    assert len(old) == len(new)
    before, data = path.stat(), path.read_bytes()
    assert data.count(old.encode()) >= 1
    with path.open("r+b") as file:
        file.write(data.replace(old.encode(), new.encode()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def restored(path: Path) -> None:
    """Deleted, and copied back from somewhere: another inode, another time."""
    copy = path.with_name("_copy")
    shutil.copyfile(path, copy)
    path.unlink()
    copy.rename(path)


def moved(path: Path) -> None:
    """To another disk with its times, as `cp -p` does."""
    shutil.copy2(path, path.with_name("_copy"))
    path.with_name("_copy").replace(path)


def touched(path: Path) -> None:
    os.utime(path, ns=(1, 1_700_000_000_000_000_001))


def rewritten(path: Path) -> None:
    """The same rows in other bytes, where the format has several ways to say them."""
    if path.suffix == ".parquet":
        pq.write_table(pq.read_table(path), path, row_group_size=40, compression="zstd")
    else:
        touched(path)


@pytest.mark.parametrize("change", [restored, rewritten, moved, touched])
def test_the_same_rows_resume(interrupted: JobConfig, corpus: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    undisturbed = configured(tmp_path, str(corpus), "undisturbed")
    run(undisturbed)
    change(corpus)
    summary = run(interrupted)
    assert summary.rows_out == ROWS and 0 < summary.rows_embedded < ROWS
    verify(open_folder(interrupted.output.uri))
    assert differences(open_folder(interrupted.output.uri), open_folder(undisturbed.output.uri)) == [], "ids, names and bytes are those of the plan"


def test_other_rows_are_refused_even_with_the_old_size_and_time(interrupted: JobConfig, corpus: Path) -> None:
    edit_in_place(corpus, text_of(1), "other texts 1234"[: len(text_of(1))])
    for _ in range(2):
        with pytest.raises(InputChanged, match=rf"input_changed: 1 corpus file changed after planning: .*{corpus.name}: other rows than those that are com"):
            run(interrupted)
    assert read_manifest(open_folder(interrupted.output.uri)) is None
    edit_in_place(corpus, "other texts 1234"[: len(text_of(1))], text_of(1))
    assert run(interrupted).rows_out == ROWS, "what is advised, to put it back, helps"


def test_an_edit_where_nothing_is_committed_resumes_with_what_is_there(interrupted: JobConfig, corpus: Path) -> None:
    edit_in_place(corpus, text_of(ROWS - 1), "other text 12345"[: len(text_of(1))])
    assert run(interrupted).rows_out == ROWS
    tables = [pq.read_table(path) for path in sorted(Path(interrupted.output.uri).glob("data/*.parquet"))]
    assert sum(table.num_rows for table in tables) == ROWS
    verify(open_folder(interrupted.output.uri))


def test_fewer_rows_are_refused(interrupted: JobConfig, corpus: Path) -> None:
    write(corpus, [text_of(row) for row in range(5)])
    with pytest.raises(InputChanged, match="5 rows, expected 120 as planned" if corpus.suffix == ".parquet" else "fewer rows|other rows"):
        run(interrupted)


def test_lines_that_were_appended_are_left_out_and_told(interrupted: JobConfig, corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(corpus, [text_of(row) for row in range(ROWS + 40)])
    if corpus.suffix == ".parquet":
        with pytest.raises(InputChanged, match="it holds 160 rows, expected 120 as planned"):
            run(interrupted)
    else:
        assert run(interrupted).rows_out == ROWS and f"grew after planning: {corpus}" in caplog.text


def test_a_file_that_grew_in_its_middle_is_refused(interrupted: JobConfig, corpus: Path) -> None:
    write(corpus, [text_of(row) + ("and more" if row == ROWS - 10 else "") for row in range(ROWS)])
    if corpus.suffix == ".parquet":
        assert run(interrupted).rows_out == ROWS, "its rows are as many"
    else:
        with pytest.raises(InputChanged, match="it grew, and not by whole lines at its end"):
            run(interrupted)


def test_an_edit_while_it_is_read_is_found_before_the_manifest(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(tmp_path, str(corpus), "out")
    from embermill.jobs import run as run_module

    check = run_module.require_same_inputs  # type: ignore[attr-defined]

    def edited_meanwhile(*arguments: Any, **options: Any) -> None:
        edit_in_place(corpus, text_of(1), "other texts 1234"[: len(text_of(1))])
        check(*arguments, **options)

    monkeypatch.setattr("embermill.jobs.run.require_same_inputs", edited_meanwhile)
    with pytest.raises(InputChanged, match="other rows than those that are committed"):
        run(config)
    monkeypatch.undo()
    monkeypatch.setattr("embermill.jobs.run.open_pool", open_inline_pool)
    with pytest.raises(InputChanged, match="other rows than those that are committed"):
        run(config)
    assert read_manifest(open_folder(config.output.uri)) is None


@pytest.mark.parametrize("scheme", ["s3", "az", "gs"])
def test_an_object_with_another_etag(scheme: str, store_url: Callable[[str], str], put_object: Callable[[str, bytes], None], tmp_path: Path) -> None:
    url = store_url(scheme)
    lines = [f"{text_of(row)}\n".encode() for row in range(ROWS)]
    put_object(f"{url}/a.txt", b"".join(lines))
    config = configured(tmp_path, f"{url}/a.txt", f"{url}/out")
    InterruptingEngine.after = 3
    with pytest.raises(Interrupted):
        run(config)
    put_object(f"{url}/a.txt", b"".join([b"x" + lines[0][1:], *lines[1:]]))
    with pytest.raises(InputChanged, match="other rows than those that are committed"):
        run(config)
    put_object(f"{url}/a.txt", b"".join([*lines, b"one more\n"]))
    assert run(config).rows_out == ROWS
    verify(open_folder(config.output.uri))
