"""What `inspect` says of each kind of file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embermill.encoder.weights.inspect import inspect
from tests.encoder.weights.burn_files import EVERY_FILE, FIXTURES, OTHERS


@pytest.mark.parametrize(
    ("file", "version", "architecture", "era"),
    [
        ("era/0.8/bert_full.mpk.gz", "0.8.0", "bert", "0.7-0.11"),
        ("era/0.13/bert_half.mpk", "0.13.2", "bert", "0.12-0.13"),
        ("bert/bert_2x32/bert.mpk", "0.21.0", "bert", "0.15-0.21"),
        ("bert/bert_2x32/bert_0.22.1.bpk", None, "bert", "0.20"),
        ("bert/bert_2x32/minilm.mpk", "0.21.0", "minilm", "0.15-0.21"),
        ("bert/bert_2x32/masked_lm.bpk", "0.21.0", "masked", "0.20"),
        ("bert/bert_2x32/sentence_transformers_burn_half.bpk", "0.21.0", "st", "0.20"),
        ("bert/bert_2x32/burn.safetensors", "0.21.0", "bert", ""),
        ("bert/bert_1x24_nopool/model.safetensors", None, "bert", ""),
    ],
)
def test_what_is_found(file: str, version: str | None, architecture: str | None, era: str) -> None:
    _check(FIXTURES / file, version, architecture, era)


@pytest.mark.shared
def test_what_is_found_in_other_peoples_files() -> None:
    for file, version, era in (
        ("v0.13_half.mpk", "0.13.0", "0.12-0.13"),
        ("v0.14_full.mpk", "0.14.0", "Burn 0.14"),
        ("v0.16_full.mpk", "0.16.1", "0.15-0.21"),
        ("v0.22pre.bpk", None, "0.20"),
    ):
        _check(OTHERS / file, version, None, era)


def _check(file: Path, version: str | None, architecture: str | None, era: str) -> None:
    found = inspect(file)
    assert found["burn_version"] == version
    assert found["architecture"] == architecture
    assert era in (found["era"] or "")


@pytest.mark.parametrize("path", EVERY_FILE)
def test_one_json_object_for_any_record(path: Path) -> None:
    found = json.loads(json.dumps(inspect(path)))
    assert path.name.endswith(f".{found['format']}")
    assert found["file_bytes"] == path.stat().st_size and found["trailing_bytes"] == 0
    assert found["tensors"]
    for tensor in found["tensors"]:
        assert set(tensor) == {"name", "shape", "dtype", "bytes", "id"}
        assert isinstance(tensor["bytes"], int) and isinstance(tensor["id"], str)


def test_a_model_folder_is_its_weight_file(tmp_path: Path) -> None:
    (tmp_path / "model.bpk").write_bytes((FIXTURES / "bert/bert_2x32/bert.bpk").read_bytes())
    assert inspect(tmp_path)["file"] == str(tmp_path / "model.bpk")
