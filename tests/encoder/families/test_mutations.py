"""Faults that others have made in these families, planted on purpose: each must move the golden vectors by more than a hundred times what is allowed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embermill.encoder.models import layers, modernbert, mpnet, roberta
from embermill.encoder.ops.base import Ops
from tests.encoder.families.golden import GOLDEN, TOLERANCE, worst

SEEN = 100 * TOLERANCE


def changed(tmp_path: Path, family: str, **settings: Any) -> Path:
    """The golden folder with other settings in its config.json."""
    folder = tmp_path / family
    shutil.copytree(GOLDEN / family, folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | settings), encoding="utf-8")
    return folder


def reweighted(tmp_path: Path, family: str, ending: str, change: Callable[[np.ndarray], np.ndarray]) -> Path:
    """The golden folder with other values in each tensor whose name ends so."""
    folder = changed(tmp_path, family)
    tensors = load_file(folder / "model.safetensors")
    touched = {name: np.ascontiguousarray(change(tensor)) for name, tensor in tensors.items() if name.endswith(ending)}
    assert touched
    save_file(tensors | touched, folder / "model.safetensors")
    return folder


def swap_halves(weight: np.ndarray) -> np.ndarray:
    return np.concatenate(np.split(weight, 2)[::-1])


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "camembert"])
def test_position_offset_0(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    monkeypatch.setattr(roberta.RobertaConfig, "position_offset", 0)
    assert worst(family, GOLDEN / family) > SEEN


def test_position_offset_0_of_mpnet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpnet, "POSITION_OFFSET", 0)
    assert worst("mpnet", GOLDEN / "mpnet") > SEEN


@pytest.mark.parametrize("window", [63, 65, 128])
def test_window(tmp_path: Path, window: int) -> None:
    assert worst("modernbert", changed(tmp_path, "modernbert", local_attention=2 * window)) > SEEN


def test_no_window(tmp_path: Path) -> None:
    assert worst("modernbert", changed(tmp_path, "modernbert", layer_types=None, global_attn_every_n_layers=1)) > SEEN


@pytest.mark.parametrize(("family", "product"), [("modernbert", ".mlp.Wi.weight"), ("gte", ".up_gate_proj.weight")])
def test_halves_swapped(tmp_path: Path, family: str, product: str) -> None:
    assert worst(family, reweighted(tmp_path, family, product, swap_halves)) > SEEN


def test_gate_and_value_swapped(tmp_path: Path) -> None:
    folder = changed(tmp_path, "nomic_bert")
    tensors = load_file(folder / "model.safetensors")
    swapped = {name.replace("fc11", "#").replace("fc12", "fc11").replace("#", "fc12"): tensor for name, tensor in tensors.items()}
    save_file(swapped, folder / "model.safetensors")
    assert worst("nomic_bert", folder) > SEEN


def test_thetas_swapped(tmp_path: Path) -> None:
    kinds = {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 160000.0}}
    assert worst("modernbert", changed(tmp_path, "modernbert", rope_parameters=kinds)) > SEEN


@pytest.mark.parametrize(
    ("family", "key"),
    [("bert", "hidden_act"), ("xlm-roberta", "hidden_act"), ("mpnet", "hidden_act"), ("gte", "hidden_act"), ("modernbert", "hidden_activation")],
)
def test_tanh_for_erf(tmp_path: Path, family: str, key: str) -> None:
    assert worst(family, changed(tmp_path, family, **{key: "gelu_new"})) > SEEN


def test_bias_of_the_other_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    right = mpnet.buckets
    monkeypatch.setattr(mpnet, "buckets", lambda distance: right(-distance))
    assert worst("mpnet", GOLDEN / "mpnet") > SEEN


def test_no_bias(tmp_path: Path) -> None:
    assert worst("mpnet", reweighted(tmp_path, "mpnet", "relative_attention_bias.weight", np.zeros_like)) > SEEN


def test_last_bucket_one_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpnet, "LAST_BUCKET_FROM", 90)
    assert worst("mpnet", GOLDEN / "mpnet") > SEEN


@pytest.mark.parametrize(("family", "key"), [("xlm-roberta", "layer_norm_eps"), ("mpnet", "layer_norm_eps"), ("modernbert", "norm_eps")])
def test_eps_of_bert(tmp_path: Path, family: str, key: str) -> None:
    assert worst(family, changed(tmp_path, family, **{key: 1e-12})) > SEEN


def test_no_final_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutFinalNorm(layers.PreNormLayers):
        def __init__(self, ops: Ops, blocks: Any, final_norm: Any) -> None:
            described = list(blocks)
            super().__init__(ops, described, final_norm)
            self.add_last_mlp = layers.plan_linear(ops, described[-1].mlp.down)

    monkeypatch.setattr(modernbert, "PreNormLayers", WithoutFinalNorm)
    assert worst("modernbert", GOLDEN / "modernbert") > SEEN


def test_first_norm_not_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithFirstNorm(layers.PreNormLayers):
        def __init__(self, ops: Ops, blocks: Any, final_norm: Any) -> None:
            super().__init__(ops, blocks, final_norm)
            right = self.layers[0].attention

            def normed_first(x: Any, batch: Any) -> Any:
                centred = x - x.mean(axis=1, keepdims=True)
                return right(centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5), batch)

            self.layers[0].attention = normed_first  # type: ignore[assignment]

    monkeypatch.setattr(modernbert, "PreNormLayers", WithFirstNorm)
    assert worst("modernbert", GOLDEN / "modernbert") > SEEN


def test_no_dynamic_ntk(tmp_path: Path) -> None:
    rope = {"rope_type": "default", "rope_theta": 1000.0}
    assert worst("nomic_bert", changed(tmp_path, "nomic_bert", rope_parameters=rope, max_position_embeddings=176)) > SEEN


def test_theta_of_the_longest_document_for_all(tmp_path: Path) -> None:
    """What a padded or packed batch of its own makes of dynamic NTK: a short document must not be turned by a long one's theta."""
    rope = {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 2.0}
    assert worst("nomic_bert", changed(tmp_path, "nomic_bert", rope_parameters=rope, max_position_embeddings=66, n_positions=176)) > SEEN


@pytest.mark.parametrize("setting", [{"rope_scaling": None}, {"rope_scaling": {"type": "linear", "factor": 8.0}}], ids=["none", "linear"])
def test_no_static_ntk(tmp_path: Path, setting: dict[str, Any]) -> None:
    assert worst("gte", changed(tmp_path, "gte", **setting)) > SEEN


@pytest.mark.parametrize(("family", "table"), [("bert", "token_type_embeddings.weight"), ("gte", "token_type_embeddings.weight")])
def test_no_token_type(tmp_path: Path, family: str, table: str) -> None:
    assert worst(family, reweighted(tmp_path, family, table, np.zeros_like)) > SEEN


def test_the_unchanged_folders_pass_by_the_same_measure() -> None:
    for family in ("roberta", "mpnet", "modernbert", "nomic_bert", "gte"):
        assert worst(family, GOLDEN / family) <= TOLERANCE
