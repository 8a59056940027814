"""BERT (Devlin et al., 2018), the encoder alone: embeddings, then post-norm layers of self-attention and a feed-forward network.

Source of the names: transformers' BertModel. Dimension letters as in encoder/ops/base.py.
"""

from __future__ import annotations

from embermill.encoder.config import TransformerConfig
from embermill.encoder.models.layers import layer_shape, merged, read_layers, weight_and_bias
from embermill.encoder.ops.base import Activations, DeviceBatch, LayerWeights, Ops
from embermill.encoder.weights.loader import NameTable, Parameters

_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "VE",
    "embeddings.position_embeddings.weight": "PE",
    "embeddings.token_type_embeddings.weight": "YE",
    "embeddings.LayerNorm.weight": "E",
    "embeddings.LayerNorm.bias": "E",
}
_LAYER = {
    "attention.self.query.weight": "EE",
    "attention.self.query.bias": "E",
    "attention.self.key.weight": "EE",
    "attention.self.key.bias": "E",
    "attention.self.value.weight": "EE",
    "attention.self.value.bias": "E",
    "attention.output.dense.weight": "EE",
    "attention.output.dense.bias": "E",
    "attention.output.LayerNorm.weight": "E",
    "attention.output.LayerNorm.bias": "E",
    "intermediate.dense.weight": "FE",
    "intermediate.dense.bias": "F",
    "output.dense.weight": "EF",
    "output.dense.bias": "E",
    "output.LayerNorm.weight": "E",
    "output.LayerNorm.bias": "E",
}
_PREFIXES = ("bert.",)
_SPELLINGS = {".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"}
_IGNORABLE = (
    r"embeddings\.(position_ids|token_type_ids)",  # buffers, not parameters
    r"pooler\.dense\.(weight|bias)",  # tanh of the first token: no pooling of sentence-transformers uses it
    r"cls\..*",  # heads of pre-training and masked language models
)


def name_table(config: TransformerConfig) -> NameTable:
    sizes = {
        "V": config.vocab_size,
        "P": config.max_position_embeddings,
        "Y": config.type_vocab_size,
        "E": config.hidden_size,
        "F": config.intermediate_size,
    }
    letters = _EMBEDDINGS | {f"encoder.layer.{layer}.{name}": shape for layer in range(config.num_layers) for name, shape in _LAYER.items()}
    return NameTable({name: tuple(sizes[letter] for letter in shape) for name, shape in letters.items()}, _PREFIXES, _SPELLINGS, _IGNORABLE)


def build(config: TransformerConfig, parameters: Parameters, ops: Ops) -> Bert:
    return Bert(config, parameters, ops)


class Bert:
    """A planned forward pass: packed batch to hidden states [T, E]."""

    def __init__(self, config: TransformerConfig, parameters: Parameters, ops: Ops) -> None:
        self.embed = ops.embed(
            parameters["embeddings.word_embeddings.weight"],
            parameters["embeddings.position_embeddings.weight"],
            parameters["embeddings.token_type_embeddings.weight"][0],  # a single text is of type 0 throughout
            *weight_and_bias(parameters, "embeddings.LayerNorm"),
            config.layer_norm_eps,
        )
        shape = layer_shape(config)
        layers = read_layers(lambda layer: _layer_weights(parameters, f"encoder.layer.{layer}"), config.num_layers)
        self.layers = [ops.layer(weights, shape) for weights in layers]

    def __call__(self, batch: DeviceBatch) -> Activations:
        hidden_states = self.embed(batch)
        for layer in self.layers:
            hidden_states = layer(hidden_states, batch)
        return hidden_states


def _layer_weights(parameters: Parameters, layer: str) -> LayerWeights:
    return LayerWeights(
        *merged(parameters, tuple(f"{layer}.attention.self.{part}" for part in ("query", "key", "value"))),
        *weight_and_bias(parameters, f"{layer}.attention.output.dense"),
        weight_and_bias(parameters, f"{layer}.attention.output.LayerNorm"),
        *weight_and_bias(parameters, f"{layer}.intermediate.dense"),
        *weight_and_bias(parameters, f"{layer}.output.dense"),
        weight_and_bias(parameters, f"{layer}.output.LayerNorm"),
    )
