"""BERT (Devlin et al., 2018), the encoder alone: embeddings, then post-norm layers of self-attention and a feed-forward network.

Source of the names: transformers' BertModel. Dimension letters as in encoder/ops/base.py.
"""

from __future__ import annotations

from typing import NamedTuple

from embermill.encoder.models.config_file import ConfigFile
from embermill.encoder.models.heads import HEADS
from embermill.encoder.models.layers import linear, merged, norm, plan_block, read_ahead
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.ops.blocks import AttentionWeights, MLPWeights, PostNormBlock
from embermill.encoder.weights.loader import NameTable, Parameters


class BertConfig(NamedTuple):
    """config.json of a BERT. Sizes are counts; `activation` is ops' spelling."""

    model_type: str
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    type_vocab_size: int
    max_position_embeddings: int
    activation: str
    layer_norm_eps: float

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def position_limit(self) -> int:
        return self.max_position_embeddings

    def fingerprint(self) -> dict[str, object]:
        names = ("model_type", "hidden_size", "num_layers", "num_heads", "intermediate_size", "vocab_size", "type_vocab_size")
        return {name: getattr(self, name) for name in (*names, "max_position_embeddings", "activation", "layer_norm_eps")}


def read_config(file: ConfigFile) -> BertConfig:
    _refuse_jina(file)
    return read_sizes(file)


def read_sizes(file: ConfigFile) -> BertConfig:
    """What all families have that are a BERT but for its positions."""
    file.expect(position_embedding_type="absolute", is_decoder=False, add_cross_attention=False, quantization_config=None)
    file.require_no_code()
    config = BertConfig(
        model_type="bert",
        hidden_size=file.positive("hidden_size"),
        num_layers=file.positive("num_hidden_layers"),
        num_heads=file.positive("num_attention_heads"),
        intermediate_size=file.positive("intermediate_size"),
        vocab_size=file.positive("vocab_size"),
        type_vocab_size=file.positive("type_vocab_size", default=2),
        max_position_embeddings=file.positive("max_position_embeddings"),
        activation=file.activation("hidden_act"),
        layer_norm_eps=file.number("layer_norm_eps", default=1e-12, below=1),
    )
    file.require_heads(config.hidden_size, config.num_heads)
    return config


def _refuse_jina(file: ConfigFile) -> None:
    """Jina v2 says `bert`, and most of its weights would load as one."""
    if file.get("position_embedding_type") == "alibi" or "jina" in str(file.get("auto_map", default="")).lower():
        raise file.refuse("this is a Jina v2 model although its model_type is bert: it has ALiBi positions and code of its own, which is never run.")


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


def name_table(config: BertConfig) -> NameTable:
    sizes = {
        "V": config.vocab_size,
        "P": config.max_position_embeddings,
        "Y": config.type_vocab_size,
        "E": config.hidden_size,
        "F": config.intermediate_size,
    }
    letters = _EMBEDDINGS | {f"encoder.layer.{layer}.{name}": shape for layer in range(config.num_layers) for name, shape in _LAYER.items()}
    return NameTable({name: tuple(sizes[letter] for letter in shape) for name, shape in letters.items()}, _PREFIXES, _SPELLINGS, HEADS)


def build(config: BertConfig, parameters: Parameters, ops: Ops) -> Bert:
    return Bert(config, parameters, ops)


class Bert:
    """x = LayerNorm(word + position + type); each layer: x = LayerNorm(x + attention(x)), x = LayerNorm(x + W2 gelu(W1 x))."""

    def __init__(self, config: BertConfig, parameters: Parameters, ops: Ops, position_offset: int = 0) -> None:
        self.embed = ops.embed(
            parameters["embeddings.word_embeddings.weight"],
            parameters["embeddings.position_embeddings.weight"],
            parameters["embeddings.token_type_embeddings.weight"][0],  # a single text is of type 0 throughout
            norm(parameters, "embeddings.LayerNorm", config.layer_norm_eps),
            position_offset,
        )
        blocks = read_ahead(lambda number: layer(config, parameters, f"encoder.layer.{number}"), config.num_layers)
        self.layers = [plan_block(ops, block) for block in blocks]

    def __call__(self, batch: DeviceBatch) -> Activations:
        x = self.embed(batch)
        for layer in self.layers:
            x = layer(x, batch)
        return x


def layer(config: BertConfig, parameters: Parameters, name: str) -> PostNormBlock:
    """One layer, described."""
    return PostNormBlock(
        attention=AttentionWeights(
            qkv=merged(parameters, [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]),
            output=linear(parameters, f"{name}.attention.output.dense"),
            num_heads=config.num_heads,
            head_dim=config.head_dim,
        ),
        attention_norm=norm(parameters, f"{name}.attention.output.LayerNorm", config.layer_norm_eps),
        mlp=MLPWeights(
            up=linear(parameters, f"{name}.intermediate.dense", config.activation),
            down=linear(parameters, f"{name}.output.dense"),
        ),
        mlp_norm=norm(parameters, f"{name}.output.LayerNorm", config.layer_norm_eps),
    )
