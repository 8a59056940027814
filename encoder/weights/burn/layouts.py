"""Four BERTs as Burn modules: what each field holds, in the order in which Burn declares (and therefore writes) it.

bert: tracel-ai/models bert-burn; minilm: minilm-burn; masked: bert-burn's BertMaskedLM; st: sentence-transformers-burn.
A layout is nested like the record itself. Its leaves are a Place, which names the Hugging Face tensor that stands there, or None for what
Burn writes as nil (constants, dropout, activations). Burn multiplies x @ weight, so a Linear holds [in, out] where Hugging Face has [out, in].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A parameter of a layout. name: Hugging Face's, without prefix; transposed: the stored matrix is [in, out]."""

    name: str
    transposed: bool = False


Layout = dict[str, Any]  # field -> Layout | list[Layout] | Place | None


def bert(num_layers: int, pooler: bool) -> Layout:
    embeddings = {"pad_token_idx": None, **_embeddings(), "dropout": None, "max_position_embeddings": None}
    return {"embeddings": embeddings, "encoder": _encoder(num_layers), "pooler": {"output": _linear("pooler.dense")} if pooler else None}


def minilm(num_layers: int, pooler: bool = False) -> Layout:
    """MiniLmModel; it has no pooler."""
    return {"embeddings": {**_embeddings(), "dropout": None}, "encoder": _encoder(num_layers)}


def masked(num_layers: int, pooler: bool) -> Layout:
    head = {"dense": _linear("lm_head.dense"), "layer_norm": _layer_norm("lm_head.layer_norm"), "decoder": _linear("lm_head.decoder")}
    return {"bert": bert(num_layers, pooler), "lm_head": head}


def st(num_layers: int, pooler: bool = False) -> Layout:
    """sentence-transformers-burn's BertModel: the encoder first, and no pooler."""
    layers = [_st_layer(f"encoder.layer.{index}") for index in range(num_layers)]
    return {"encoder": {"layers": layers}, "embeddings": {**_embeddings(), "dropout": None, "max_position_embeddings": None}}


LAYOUTS = {"bert": bert, "minilm": minilm, "masked": masked, "st": st}


def places(layout: Layout) -> dict[str, Place]:
    """Burn's path -> Place, in declaration order."""
    return dict(_walk(layout, ""))


def _walk(node: Any, path: str) -> Iterator[tuple[str, Place]]:
    if isinstance(node, Place):
        yield path, node
    elif node is not None:
        children = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in children:
            yield from _walk(child, f"{path}.{key}" if path else str(key))


def _linear(name: str) -> Layout:
    return {"weight": Place(f"{name}.weight", transposed=True), "bias": Place(f"{name}.bias")}


def _layer_norm(name: str) -> Layout:
    return {"gamma": Place(f"{name}.weight"), "beta": Place(f"{name}.bias"), "epsilon": None}


def _embeddings() -> Layout:
    tables = {table: {"weight": Place(f"embeddings.{table}.weight")} for table in ("word_embeddings", "position_embeddings", "token_type_embeddings")}
    return {**tables, "layer_norm": _layer_norm("embeddings.LayerNorm")}


def _encoder(num_layers: int) -> Layout:
    """burn::nn's TransformerEncoder as of 0.21."""
    constants = dict.fromkeys(("d_model", "d_ff", "n_heads", "n_layers", "dropout", "norm_first", "quiet_softmax"))
    return {"layers": [_layer(f"encoder.layer.{index}") for index in range(num_layers)], **constants}


def _layer(name: str) -> Layout:
    attention = {part: _linear(f"{name}.attention.self.{part}") for part in ("query", "key", "value")}
    constants = dict.fromkeys(("dropout", "activation", "d_model", "n_heads", "d_k", "min_float", "quiet_softmax"))
    return {
        "mha": {**attention, "output": _linear(f"{name}.attention.output.dense"), **constants},
        "pwff": {"linear_inner": _linear(f"{name}.intermediate.dense"), "linear_outer": _linear(f"{name}.output.dense"), "dropout": None, "activation": None},
        "norm_1": _layer_norm(f"{name}.attention.output.LayerNorm"),
        "norm_2": _layer_norm(f"{name}.output.LayerNorm"),
        "dropout": None,
        "norm_first": None,
    }


def _st_layer(name: str) -> Layout:
    attention = {part: _linear(f"{name}.attention.self.{part}") for part in ("query", "key", "value")}
    constants = dict.fromkeys(("dropout", "num_attention_heads", "attention_head_size", "all_head_size"))
    return {
        "attention": {"self_attention": {**attention, **constants}, "self_output": _output(f"{name}.attention.output")},
        "intermediate": {"dense": _linear(f"{name}.intermediate.dense"), "intermediate_act": None},
        "output": _output(f"{name}.output"),
    }


def _output(name: str) -> Layout:
    return {"dense": _linear(f"{name}.dense"), "layer_norm": _layer_norm(f"{name}.LayerNorm"), "dropout": None}
