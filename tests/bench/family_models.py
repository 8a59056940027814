"""Folders of families beside BERT with random weights, the same that the peer has, for benchmarks on one GPU.

The peer is peers_families_gpu.py, which lies outside this repository: its folder comes first in sys.path.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tests.bench.peers_gpu import SHAPES

HALF = torch.float16


def write_folder(family: str, hf: Any, peer: Any, folder: Path) -> Path:
    """config.json and model.safetensors (F16) of the peer's weights: as transformers writes them, or, where it has no such family, as the hub has them."""
    folder.mkdir(parents=True, exist_ok=True)
    if hf is not None:
        hf.to(HALF).save_pretrained(folder)
        hf.float()
        return folder
    from safetensors.torch import save_file

    save_file({name: tensor.to("cpu", HALF).contiguous() for name, tensor in nomic_tensors(peer).items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(nomic_config(peer)), encoding="utf-8")
    return folder


def write_bert(shape: str, folder: str) -> str:
    """A BERT whose weights are drawn and scaled as the families' are: what a product draws of power, and so its speed, depends on them."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    model = BertModel(BertConfig(**SHAPES[shape]), add_pooling_layer=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1 and "embed" not in name:
                parameter.mul_(4.0)
    model.to(HALF).save_pretrained(folder)
    return folder


def nomic_tensors(peer: Any) -> dict[str, torch.Tensor]:
    found = {
        "embeddings.word_embeddings.weight": peer.words.weight,
        "embeddings.token_type_embeddings.weight": torch.stack([peer.segment, peer.segment]),
        "emb_ln.weight": peer.norm.weight,
        "emb_ln.bias": peer.norm.bias,
    }
    for number, layer in enumerate(peer.layers):
        gated, gate = layer.up.weight.chunk(2)
        parts = {"attn.Wqkv": layer.qkv, "attn.out_proj": layer.o, "norm1": layer.norm1, "norm2": layer.norm2, "mlp.fc2": layer.down}
        found |= {f"encoder.layers.{number}.{name}.weight": part.weight for name, part in parts.items()}
        found |= {f"encoder.layers.{number}.{name}.bias": parts[name].bias for name in ("norm1", "norm2")}
        found |= {f"encoder.layers.{number}.mlp.fc11.weight": gated, f"encoder.layers.{number}.mlp.fc12.weight": gate}
    return {name: tensor.detach() for name, tensor in found.items()}


def nomic_config(peer: Any) -> dict[str, object]:
    shape = peer.s
    return {
        "model_type": "nomic_bert", "n_embd": shape["hidden"], "n_head": shape["heads"], "n_inner": shape["inner"], "n_layer": shape["layers"],
        "n_positions": shape["limit"], "vocab_size": shape["vocab"], "type_vocab_size": 2, "activation_function": "swiglu",
        "layer_norm_epsilon": 1e-12, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_scaling_factor": None, "prenorm": False,
    }  # fmt: skip
