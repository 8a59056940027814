"""DistilBERT (Sanh et al., 2019): BERT's layers, half as many, without token types; config.json has words of its own.

Source of the names: transformers' DistilBertModel. Sinusoidal positions, where a model has them, are stored as a table like any other.
"""

from __future__ import annotations

from typing import NamedTuple

from embermill.encoder.models.config_file import ConfigFile
from embermill.encoder.models.heads import HEADS
from embermill.encoder.models.layers import PostNormLayers, linear, merged, norm
from embermill.encoder.models.names import of_layers, shapes_of
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.ops.blocks import AttentionWeights, MLPWeights, PostNormBlock
from embermill.encoder.weights.loader import NameTable, Parameters

EPS = 1e-12  # fixed in the architecture

_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "VE",
    "embeddings.position_embeddings.weight": "PE",
    "embeddings.LayerNorm.weight": "E",
    "embeddings.LayerNorm.bias": "E",
}
_LAYER = {
    "attention.q_lin.weight": "EE",
    "attention.q_lin.bias": "E",
    "attention.k_lin.weight": "EE",
    "attention.k_lin.bias": "E",
    "attention.v_lin.weight": "EE",
    "attention.v_lin.bias": "E",
    "attention.out_lin.weight": "EE",
    "attention.out_lin.bias": "E",
    "sa_layer_norm.weight": "E",
    "sa_layer_norm.bias": "E",
    "ffn.lin1.weight": "FE",
    "ffn.lin1.bias": "F",
    "ffn.lin2.weight": "EF",
    "ffn.lin2.bias": "E",
    "output_layer_norm.weight": "E",
    "output_layer_norm.bias": "E",
}
_PREFIXES = ("distilbert.",)
_SPELLINGS = {".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"}


class DistilBertConfig(NamedTuple):
    """config.json. Sizes are counts; `activation` is ops' spelling."""

    model_type: str
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    activation: str

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def position_limit(self) -> int:
        return self.max_position_embeddings

    def fingerprint(self) -> dict[str, object]:
        names = ("model_type", "hidden_size", "num_layers", "num_heads", "intermediate_size", "vocab_size", "max_position_embeddings", "activation")
        return {name: getattr(self, name) for name in names}


def read_config(file: ConfigFile) -> DistilBertConfig:
    file.expect(is_decoder=False, quantization_config=None)
    file.require_no_code()
    config = DistilBertConfig(
        model_type="distilbert",
        hidden_size=file.positive("dim", "hidden_size"),
        num_layers=file.num_layers("n_layers", "num_hidden_layers"),
        num_heads=file.positive("n_heads", "num_attention_heads"),
        intermediate_size=file.positive("hidden_dim"),
        vocab_size=file.positive("vocab_size"),
        max_position_embeddings=file.positive("max_position_embeddings", default=512),
        activation=file.activation("activation"),
    )
    file.require_heads(config.hidden_size, config.num_heads)
    return config


def name_table(config: DistilBertConfig) -> NameTable:
    sizes = {"V": config.vocab_size, "P": config.max_position_embeddings, "E": config.hidden_size, "F": config.intermediate_size}
    letters = _EMBEDDINGS | of_layers(_LAYER, "transformer.layer.{}.", config.num_layers)
    return NameTable(shapes_of(letters, sizes), _PREFIXES, _SPELLINGS, HEADS)


def build(config: DistilBertConfig, parameters: Parameters, ops: Ops) -> DistilBert:
    return DistilBert(config, parameters, ops)


class DistilBert:
    """x = LayerNorm(word + position); each layer: x = LayerNorm(x + attention(x)), x = LayerNorm(x + W2 gelu(W1 x))."""

    def __init__(self, config: DistilBertConfig, parameters: Parameters, ops: Ops) -> None:
        self.embed = ops.embed(
            parameters["embeddings.word_embeddings.weight"],
            parameters["embeddings.position_embeddings.weight"],
            norm=norm(parameters, "embeddings.LayerNorm", EPS),
        )
        self.layers = PostNormLayers(ops, lambda number: layer(config, parameters, f"transformer.layer.{number}"), config.num_layers)

    def __call__(self, batch: DeviceBatch) -> Activations:
        return self.layers(self.embed(batch), batch)


def layer(config: DistilBertConfig, parameters: Parameters, name: str) -> PostNormBlock:
    """One layer, described."""
    return PostNormBlock(
        attention=AttentionWeights(
            qkv=merged(parameters, [f"{name}.attention.{part}_lin" for part in "qkv"]),
            output=linear(parameters, f"{name}.attention.out_lin"),
            num_heads=config.num_heads,
            head_dim=config.head_dim,
        ),
        attention_norm=norm(parameters, f"{name}.sa_layer_norm", EPS),
        mlp=MLPWeights(
            up=linear(parameters, f"{name}.ffn.lin1", config.activation),
            down=linear(parameters, f"{name}.ffn.lin2"),
        ),
        mlp_norm=norm(parameters, f"{name}.output_layer_norm", EPS),
    )
