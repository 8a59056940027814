"""What a refused export advises, done: it helps."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
from pathlib import Path
from typing import BinaryIO

import pytest

from embermill.jobs.export.formats.vespa import Vespa
from embermill.jobs.export.source import Part
from embermill.jobs.export.state import LOCK, NAME
from tests.jobs.command_line import command
from tests.jobs.export.exported import export, make_dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("advice"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix == ".jsonl"}


@pytest.mark.parametrize("how", ["another", "removed"])
def test_a_folder_with_another_export(dataset: Path, tmp_path: Path, how: str) -> None:
    out = tmp_path / "x"
    export(dataset, "npy", out)
    said = f"holds another export of {dataset}: format: npy -> vespa"
    assert f"{said}: name another folder, or remove that one" in export(dataset, "vespa", out, code=2).errors
    place = tmp_path / "y" if how == "another" else out
    if how == "removed":
        for path in sorted(out.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    export(dataset, "vespa", place)
    assert files_of(place)


def test_a_folder_with_an_export_of_another_dataset(dataset: Path, tmp_path: Path) -> None:
    """Of the dataset that lies elsewhere, of one that lay there before, and of an export that says nothing of it, as an earlier version made them."""
    out, other = tmp_path / "x", make_dataset(tmp_path / "other")
    export(other, "npy", out)
    assert f"--out {out}: holds an export of another dataset ({other}): name another folder, or" in export(dataset, "npy", out, code=2).errors
    state = json.loads((out / NAME).read_text())
    for root, said in (({"root": str(dataset)}, f", which was at {dataset} before this one was made there: name"), ({}, ": name another folder")):
        (out / NAME).write_text(json.dumps({key: value for key, value in state.items() if key != "root"} | root))
        assert f"holds an export of another dataset{said}" in export(dataset, "npy", out, code=2).errors
    export(dataset, "npy", tmp_path / "y")


def test_a_damaged_state(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "x"
    export(dataset, "vespa", out)
    before = files_of(out)
    (out / NAME).write_text("{")
    refused = export(dataset, "vespa", out, code=3).errors
    named = refused.partition("remove ")[2].partition(" and export again")[0]
    for path in sorted(Path(named).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    export(dataset, "vespa", out)
    assert files_of(out) == before


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), RuntimeError("LanceError(IO): No space left on device (os error 28)")])
def test_a_full_disk(dataset: Path, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle, said by whatever library writes: the folder is named, and the same command writes the rest."""
    right, out = tmp_path / "right", tmp_path / "x"
    export(dataset, "vespa", right)
    write = Vespa._write_part

    def full(self: Vespa, file: BinaryIO, part: Part) -> int:
        write(self, file, part)
        raise error

    with monkeypatch.context() as during:
        during.setattr(Vespa, "_write_part", full)
        told = export(dataset, "vespa", out, code=2).errors
    words = rf"--out {out}: cannot be written: its disk is full \(No space left on device, [\d,]+ of [\d,]+ bytes are free\): .* run the same command again"
    assert re.search(words, told), told
    export(dataset, "vespa", out)
    assert files_of(out) == files_of(right)


@pytest.mark.parametrize("net", [[], ["--net"]], ids=["files", "net"])
def test_a_full_disk_under_a_feed(dataset: Path, tmp_path: Path, net: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as during:
        during.setattr("shutil.copyfileobj", full)
        during.setattr("pyarrow.parquet.write_table", full)
        refused = command("changes", str(dataset), "--since", "0", *net, "--out", str(tmp_path / "feed"))
    assert refused.code == 2 and f"--out {tmp_path}/feed: cannot be written: its disk is full" in refused.errors
    assert command("changes", str(dataset), "--since", "0", *net, "--out", str(tmp_path / "feed")).code == 0


def test_while_another_one_writes(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    with (tmp_path / "held" / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "wait for it, or name another folder" in export(dataset, "vespa", tmp_path / "held", code=4).errors
        export(dataset, "vespa", tmp_path / "other")
    export(dataset, "vespa", tmp_path / "held")
    assert files_of(tmp_path / "held") == files_of(tmp_path / "other")
