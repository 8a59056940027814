"""MPNet (Song et al., 2020): BERT's layers with a bias by distance in attention, one table for all of them, and no token types.

    scores = q k^T / sqrt(D) + bias[bucket(k - q)]        positions begin at row 2, as in RoBERTa

Source of the names: transformers' MPNetModel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from embermill.encoder.models.config_file import ConfigFile
from embermill.encoder.models.heads import HEADS
from embermill.encoder.models.layers import PostNormLayers, linear, merged, norm
from embermill.encoder.models.names import of_layers, shapes_of
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.ops.blocks import AttentionWeights, MLPWeights, PostNormBlock
from embermill.encoder.weights.loader import NameTable, Parameters

POSITION_OFFSET = 2  # the padding token's id is 1 whatever config.json says
BUCKETS = 32
EXACT_DISTANCES = 8  # below them each distance has a bucket of its own, above them ever more share one
LAST_BUCKET_FROM = 91  # all distances from here on share the last bucket of their side

_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "VE",
    "embeddings.position_embeddings.weight": "PE",
    "embeddings.LayerNorm.weight": "E",
    "embeddings.LayerNorm.bias": "E",
    "encoder.relative_attention_bias.weight": "BH",
}
_LAYER = {
    "attention.attn.q.weight": "EE",
    "attention.attn.q.bias": "E",
    "attention.attn.k.weight": "EE",
    "attention.attn.k.bias": "E",
    "attention.attn.v.weight": "EE",
    "attention.attn.v.bias": "E",
    "attention.attn.o.weight": "EE",
    "attention.attn.o.bias": "E",
    "attention.LayerNorm.weight": "E",
    "attention.LayerNorm.bias": "E",
    "intermediate.dense.weight": "FE",
    "intermediate.dense.bias": "F",
    "output.dense.weight": "EF",
    "output.dense.bias": "E",
    "output.LayerNorm.weight": "E",
    "output.LayerNorm.bias": "E",
}
_PREFIXES = ("mpnet.",)


class MPNetConfig(NamedTuple):
    """config.json. Sizes are counts; `activation` is ops' spelling."""

    model_type: str
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    activation: str
    layer_norm_eps: float

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def position_limit(self) -> int:
        return self.max_position_embeddings - POSITION_OFFSET

    def fingerprint(self) -> dict[str, object]:
        names = ("model_type", "hidden_size", "num_layers", "num_heads", "intermediate_size", "vocab_size")
        return {name: getattr(self, name) for name in (*names, "max_position_embeddings", "activation", "layer_norm_eps")}


def read_config(file: ConfigFile) -> MPNetConfig:
    file.expect(relative_attention_num_buckets=BUCKETS, is_decoder=False, quantization_config=None)
    file.require_no_code()
    config = MPNetConfig(
        model_type="mpnet",
        hidden_size=file.positive("hidden_size"),
        num_layers=file.num_layers("num_hidden_layers"),
        num_heads=file.positive("num_attention_heads"),
        intermediate_size=file.positive("intermediate_size"),
        vocab_size=file.positive("vocab_size"),
        max_position_embeddings=file.positive("max_position_embeddings"),
        activation=file.activation("hidden_act"),
        layer_norm_eps=file.number("layer_norm_eps", default=1e-12, below=1),
    )
    file.require_heads(config.hidden_size, config.num_heads)
    if config.position_limit < 1:
        raise file.refuse(f"max_position_embeddings {config.max_position_embeddings} leaves no position: they begin at {POSITION_OFFSET}.")
    return config


def name_table(config: MPNetConfig) -> NameTable:
    sizes = {
        "V": config.vocab_size,
        "P": config.max_position_embeddings,
        "E": config.hidden_size,
        "F": config.intermediate_size,
        "B": BUCKETS,
        "H": config.num_heads,
    }
    letters = _EMBEDDINGS | of_layers(_LAYER, "encoder.layer.{}.", config.num_layers)
    return NameTable(shapes_of(letters, sizes), _PREFIXES, ignorable=HEADS)


def build(config: MPNetConfig, parameters: Parameters, ops: Ops) -> MPNet:
    return MPNet(config, parameters, ops)


class MPNet:
    """x = LayerNorm(word + position); each layer: x = LayerNorm(x + attention(x)), x = LayerNorm(x + W2 gelu(W1 x))."""

    def __init__(self, config: MPNetConfig, parameters: Parameters, ops: Ops) -> None:
        self.embed = ops.embed(
            parameters["embeddings.word_embeddings.weight"],
            parameters["embeddings.position_embeddings.weight"],
            norm=norm(parameters, "embeddings.LayerNorm", config.layer_norm_eps),
            position_offset=POSITION_OFFSET,
        )
        bias = bias_by_distance(parameters["encoder.relative_attention_bias.weight"])
        self.layers = PostNormLayers(ops, lambda number: layer(config, parameters, f"encoder.layer.{number}", bias), config.num_layers)

    def __call__(self, batch: DeviceBatch) -> Activations:
        return self.layers(self.embed(batch), batch)


def layer(config: MPNetConfig, parameters: Parameters, name: str, bias: np.ndarray) -> PostNormBlock:
    """One layer, described. bias: [H, 2R+1] by distance."""
    return PostNormBlock(
        attention=AttentionWeights(
            qkv=merged(parameters, [f"{name}.attention.attn.{part}" for part in "qkv"]),
            output=linear(parameters, f"{name}.attention.attn.o"),
            num_heads=config.num_heads,
            head_dim=config.head_dim,
            bias=bias,
        ),
        attention_norm=norm(parameters, f"{name}.attention.LayerNorm", config.layer_norm_eps),
        mlp=MLPWeights(
            up=linear(parameters, f"{name}.intermediate.dense", config.activation),
            down=linear(parameters, f"{name}.output.dense"),
        ),
        mlp_norm=norm(parameters, f"{name}.output.LayerNorm", config.layer_norm_eps),
    )


def bias_by_distance(table: np.ndarray) -> np.ndarray:
    """table: [buckets, H]. Returns [H, 2 * 91 + 1], for the distances k - q from -91 to 91; what is further away has the bucket of those."""
    return np.ascontiguousarray(table[buckets(np.arange(-LAST_BUCKET_FROM, LAST_BUCKET_FROM + 1))].T)


def buckets(distance: np.ndarray) -> np.ndarray:
    """distance: k - q, whole numbers of any shape. Keys behind the query take the upper half of the buckets."""
    size, half = np.abs(distance), BUCKETS // 2
    far = EXACT_DISTANCES + (np.log(np.maximum(size, 1) / EXACT_DISTANCES) / np.log(128 / EXACT_DISTANCES) * (half - EXACT_DISTANCES)).astype(np.int64)
    return np.asarray(np.where(distance > 0, half, 0) + np.where(size < EXACT_DISTANCES, size, np.minimum(far, half - 1)))
