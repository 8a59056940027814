"""What lies beside an encoder and is no part of it: tensors of known heads, and an index of shards that the whole file has replaced."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embermill.encoder import WeightsError
from tests.encoder.families.golden import FAMILIES, GOLDEN, embed, read_golden

PREFIXES = {
    "bert": "bert.", "roberta": "roberta.", "xlm-roberta": "roberta.", "camembert": "roberta.", "mpnet": "mpnet.", "distilbert": "distilbert.",
    "nomic_bert": "bert.", "modernbert": "model.", "gte": "new.",
}  # fmt: skip
HEADS = [
    "classifier.weight", "classifier.out_proj.bias", "pre_classifier.weight", "qa_outputs.weight", "cls.predictions.bias", "lm_head.dense.weight",
    "cls.seq_relationship.weight", "vocab_projector.bias", "vocab_transform.weight", "head.dense.weight", "decoder.bias", "linear.weight",
    "pooler.dense.weight",
]  # fmt: skip


def golden_copy(tmp_path: Path, family: str) -> tuple[Path, dict[str, np.ndarray]]:
    folder = Path(shutil.copytree(GOLDEN / family, tmp_path / family))
    return folder, load_file(folder / "model.safetensors")


@pytest.mark.parametrize("family", [family for family in FAMILIES if family in PREFIXES])
def test_heads_and_the_familys_prefix(tmp_path: Path, family: str, caplog: pytest.LogCaptureFixture) -> None:
    folder, tensors = golden_copy(tmp_path, family)
    documents = read_golden(family).documents[:3]
    expected = embed(folder, documents)
    prefixed, heads = {PREFIXES[family] + name: tensor for name, tensor in tensors.items()}, {name: np.ones((2, 3), np.float32) for name in HEADS}
    save_file(prefixed | heads, folder / "model.safetensors")
    with caplog.at_level(logging.INFO, "embermill.encoder"):
        assert embed(folder, documents).tobytes() == expected.tobytes()
    assert all(name in caplog.text for name in HEADS)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family in PREFIXES])
@pytest.mark.parametrize("name", ["classifiers.weight", "adapter.0.weight", "encoder.layer.9.output.dense.weight", "layers.9.attn.Wo.weight"])
def test_what_is_not_known_is_an_error(tmp_path: Path, family: str, name: str) -> None:
    folder, tensors = golden_copy(tmp_path, family)
    save_file(tensors | {name: np.ones((2, 3), np.float32)}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=rf"unexpected \(1\): {name}"):
        embed(folder, [[5]])


@pytest.mark.parametrize("shards_there", [False, True])
def test_a_stale_index_beside_the_whole_file(tmp_path: Path, shards_there: bool, caplog: pytest.LogCaptureFixture) -> None:
    folder, tensors = golden_copy(tmp_path, "bert")
    expected = embed(folder, [[5, 6]])
    shard = "model-00001-of-00001.safetensors"
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    if shards_there:
        save_file({name: tensor * 2 for name, tensor in tensors.items()}, folder / shard)
    assert embed(folder, [[5, 6]]).tobytes() == expected.tobytes()
    assert "model.safetensors.index.json: left out, since model.safetensors holds all the weights" in caplog.text
