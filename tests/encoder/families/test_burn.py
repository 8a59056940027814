"""Burn's formats: RoBERTa and its kin are bert-burn's own BERT, position offset and all; the other families have no module there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from embermill.encoder import WeightsError
from embermill.encoder.weights.convert.convert import convert
from tests.encoder.families.golden import FAMILIES, GOLDEN, TOLERANCE, embed, read_golden, worst

BURN_HAS = ("bert", "roberta", "xlm-roberta", "camembert")


@pytest.mark.parametrize("format", ["mpk", "bpk"])
@pytest.mark.parametrize("family", BURN_HAS)
def test_there_and_back(tmp_path: Path, family: str, format: str) -> None:
    documents = read_golden(family).documents
    expected = embed(GOLDEN / family, documents)
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(GOLDEN / family / name, model / name)
    convert(model, tmp_path / "burn", to=format)
    assert (tmp_path / "burn" / f"model.{format}").is_file()
    assert worst(family, tmp_path / "burn") <= TOLERANCE
    convert(tmp_path / "burn", tmp_path / "back", to="safetensors")
    assert embed(tmp_path / "back", documents).tobytes() == expected.tobytes()


@pytest.mark.parametrize("format", ["mpk", "bpk", "mpk.gz"])
@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in BURN_HAS])
def test_the_others_are_refused_by_name(tmp_path: Path, family: str, format: str) -> None:
    name = {"gte": "new"}.get(family, family)
    with pytest.raises(WeightsError, match=f"a {name} model; Burn has modules for BERT and RoBERTa alone"):
        convert(GOLDEN / family / "model.safetensors", tmp_path / f"model.{format}")
    assert not any(tmp_path.iterdir())
