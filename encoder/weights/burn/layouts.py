"""Four BERTs as Burn modules: what each field holds, in the order in which Burn declares (and therefore writes) it.

bert: tracel-ai/models bert-burn; minilm: minilm-burn; masked: bert-burn's BertMaskedLM; st: sentence-transformers-burn.
A layout is nested like the record itself. Its leaves are a Place, which names the Hugging Face tensor that is there, or None for what
Burn writes as nil (constants, dropout, activations). The names of the tensors are in models/bert.py.
Burn multiplies x @ weight, so a Linear holds [in, out] where Hugging Face has [out, in].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from embermill.encoder.models import bert as parts


class Place(NamedTuple):
    """A parameter of a layout. name: Hugging Face's, without prefix; transposed: the stored matrix is [in, out]."""

    name: str
    transposed: bool = False


Layout = dict[str, Any]  # field -> Layout | list[Layout] | Place | None


def bert(num_layers: int, pooler: bool) -> Layout:
    embeddings = {"pad_token_idx": None, **_embeddings(), "dropout": None, "max_position_embeddings": None}
    return {"embeddings": embeddings, "encoder": _encoder(num_layers), "pooler": {"output": _linear(parts.POOLER)} if pooler else None}


def minilm(num_layers: int, pooler: bool = False) -> Layout:
    """MiniLmModel; it has no pooler."""
    return {"embeddings": {**_embeddings(), "dropout": None}, "encoder": _encoder(num_layers)}


def masked(num_layers: int, pooler: bool) -> Layout:
    head = {"dense": _linear(parts.HEAD_DENSE), "layer_norm": _layer_norm(parts.HEAD_NORM), "decoder": _linear(parts.HEAD_DECODER)}
    return {"bert": bert(num_layers, pooler), "lm_head": head}


def st(num_layers: int, pooler: bool = False) -> Layout:
    """sentence-transformers-burn's BertModel: the encoder first, and no pooler."""
    layers = [_st_layer(parts.LAYER.format(index)) for index in range(num_layers)]
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
    names = {"word_embeddings": parts.WORD, "position_embeddings": parts.POSITION, "token_type_embeddings": parts.TOKEN_TYPE}
    tables = {field: {"weight": Place(f"{name}.weight")} for field, name in names.items()}
    return {**tables, "layer_norm": _layer_norm(parts.EMBEDDING_NORM)}


def _encoder(num_layers: int) -> Layout:
    """burn::nn's TransformerEncoder as of 0.21."""
    constants = dict.fromkeys(("d_model", "d_ff", "n_heads", "n_layers", "dropout", "norm_first", "quiet_softmax"))
    return {"layers": [_layer(parts.LAYER.format(index)) for index in range(num_layers)], **constants}


def _attention(at: str) -> Layout:
    return {field: _linear(at + name) for field, name in (("query", parts.QUERY), ("key", parts.KEY), ("value", parts.VALUE))}


def _layer(at: str) -> Layout:
    attention = _attention(at)
    constants = dict.fromkeys(("dropout", "activation", "d_model", "n_heads", "d_k", "min_float", "quiet_softmax"))
    return {
        "mha": {**attention, "output": _linear(at + parts.ATTENTION_OUTPUT), **constants},
        "pwff": {"linear_inner": _linear(at + parts.INTERMEDIATE), "linear_outer": _linear(at + parts.OUTPUT), "dropout": None, "activation": None},
        "norm_1": _layer_norm(at + parts.ATTENTION_NORM),
        "norm_2": _layer_norm(at + parts.OUTPUT_NORM),
        "dropout": None,
        "norm_first": None,
    }


def _st_layer(at: str) -> Layout:
    constants = dict.fromkeys(("dropout", "num_attention_heads", "attention_head_size", "all_head_size"))
    return {
        "attention": {"self_attention": {**_attention(at), **constants}, "self_output": _output(at + parts.ATTENTION_OUTPUT, at + parts.ATTENTION_NORM)},
        "intermediate": {"dense": _linear(at + parts.INTERMEDIATE), "intermediate_act": None},
        "output": _output(at + parts.OUTPUT, at + parts.OUTPUT_NORM),
    }


def _output(product: str, norm: str) -> Layout:
    return {"dense": _linear(product), "layer_norm": _layer_norm(norm), "dropout": None}
