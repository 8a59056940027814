"""BERT (Devlin et al., 2018), the encoder alone: embeddings, then post-norm layers of self-attention and a feed-forward network.

Source of the names: transformers' BertModel. Dimension letters as in encoder/ops/base.py.
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
        num_layers=file.num_layers("num_hidden_layers"),
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


# What the parts are called, each once; those of a layer stand behind LAYER.
WORD, POSITION, TOKEN_TYPE = "embeddings.word_embeddings", "embeddings.position_embeddings", "embeddings.token_type_embeddings"
EMBEDDING_NORM = "embeddings.LayerNorm"
LAYER = "encoder.layer.{}."
QUERY, KEY, VALUE = "attention.self.query", "attention.self.key", "attention.self.value"
ATTENTION_OUTPUT, ATTENTION_NORM = "attention.output.dense", "attention.output.LayerNorm"
INTERMEDIATE, OUTPUT, OUTPUT_NORM = "intermediate.dense", "output.dense", "output.LayerNorm"
POOLER = "pooler.dense"
HEAD_DENSE, HEAD_NORM, HEAD_DECODER = "lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"


def _product(name: str, shape: str) -> dict[str, str]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[0]}


def _norm(name: str) -> dict[str, str]:
    return {f"{name}.weight": "E", f"{name}.bias": "E"}


SIZES = {"V": "vocab_size", "P": "max_position_embeddings", "Y": "type_vocab_size", "E": "hidden_size", "F": "intermediate_size"}
"""A letter of a shape -> config.json's name of that size."""
_EMBEDDINGS = {f"{WORD}.weight": "VE", f"{POSITION}.weight": "PE", f"{TOKEN_TYPE}.weight": "YE", **_norm(EMBEDDING_NORM)}
_LAYER = {
    **_product(QUERY, "EE"),
    **_product(KEY, "EE"),
    **_product(VALUE, "EE"),
    **_product(ATTENTION_OUTPUT, "EE"),
    **_norm(ATTENTION_NORM),
    **_product(INTERMEDIATE, "FE"),
    **_product(OUTPUT, "EF"),
    **_norm(OUTPUT_NORM),
}
BESIDE_THE_ENCODER = {**_product(POOLER, "EE"), **_product(HEAD_DENSE, "EE"), **_norm(HEAD_NORM), **_product(HEAD_DECODER, "VE")}
"""Shapes of the pooler and of a masked language model's head, which conversions keep."""
_PREFIXES = ("bert.",)
_SPELLINGS = {".LayerNorm.gamma": ".LayerNorm.weight", ".LayerNorm.beta": ".LayerNorm.bias"}


def shape_letters(num_layers: int) -> dict[str, str]:
    """Every parameter of the encoder -> its shape in letters of SIZES, [out, in] for products."""
    return _EMBEDDINGS | of_layers(_LAYER, LAYER, num_layers)


def name_table(config: BertConfig) -> NameTable:
    sizes = {letter: getattr(config, name) for letter, name in SIZES.items()}
    return NameTable(shapes_of(shape_letters(config.num_layers), sizes), _PREFIXES, _SPELLINGS, HEADS)


def build(config: BertConfig, parameters: Parameters, ops: Ops) -> Bert:
    return Bert(config, parameters, ops)


class Bert:
    """x = LayerNorm(word + position + type); each layer: x = LayerNorm(x + attention(x)), x = LayerNorm(x + W2 gelu(W1 x))."""

    def __init__(self, config: BertConfig, parameters: Parameters, ops: Ops, position_offset: int = 0) -> None:
        self.embed = ops.embed(
            parameters[f"{WORD}.weight"],
            parameters[f"{POSITION}.weight"],
            parameters[f"{TOKEN_TYPE}.weight"][0],  # a single text is of type 0 throughout
            norm(parameters, EMBEDDING_NORM, config.layer_norm_eps),
            position_offset,
        )
        self.layers = PostNormLayers(ops, lambda number: layer(config, parameters, LAYER.format(number)), config.num_layers)

    def __call__(self, batch: DeviceBatch) -> Activations:
        return self.layers(self.embed(batch), batch)


def layer(config: BertConfig, parameters: Parameters, at: str) -> PostNormBlock:
    """One layer, described. at: what comes before its names."""
    return PostNormBlock(
        attention=AttentionWeights(
            qkv=merged(parameters, [at + part for part in (QUERY, KEY, VALUE)]),
            output=linear(parameters, at + ATTENTION_OUTPUT),
            num_heads=config.num_heads,
            head_dim=config.head_dim,
        ),
        attention_norm=norm(parameters, at + ATTENTION_NORM, config.layer_norm_eps),
        mlp=MLPWeights(
            up=linear(parameters, at + INTERMEDIATE, config.activation),
            down=linear(parameters, at + OUTPUT),
        ),
        mlp_norm=norm(parameters, at + OUTPUT_NORM, config.layer_norm_eps),
    )
