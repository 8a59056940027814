"""What stands where a conversion is to go: replaced only where it is a file or a folder of ours."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from embermill.encoder.errors import EncoderError
from embermill.encoder.weights.convert.atomic_output import file_to_be, folder_to_be

Making = Callable[[Path], AbstractContextManager[Path]]


@pytest.mark.parametrize("making", [file_to_be, folder_to_be])
def test_a_pipe_is_no_place(tmp_path: Path, making: Making) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(EncoderError, match="is neither a regular file nor a folder"), making(pipe):
        pytest.fail("nothing is made for it")
    assert pipe.is_fifo() and [*tmp_path.iterdir()] == [pipe]


@pytest.mark.parametrize("making", [file_to_be, folder_to_be])
def test_a_place_needs_a_name(making: Making) -> None:
    with pytest.raises(EncoderError, match="expected the name of a file or folder to make"), making(Path()):
        pytest.fail("nothing is made for it")


def test_a_folder_that_cannot_be_looked_into_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, look = tmp_path / "target", os.scandir
    (target / "locked").mkdir(parents=True)
    (target / "locked" / "mine.txt").write_text("mine")

    def scandir(path: os.PathLike[str] | int) -> object:
        if not isinstance(path, int) and Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    with monkeypatch.context() as patched, pytest.raises(EncoderError, match="cannot be written: Permission denied"), folder_to_be(target) as folder:
        (folder / "model.mpk").write_text("new")
        patched.setattr(os, "scandir", scandir)
    assert (target / "locked" / "mine.txt").read_text() == "mine"
