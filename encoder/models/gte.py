"""GTE (Zhang et al., 2024: mGTE), which config.json calls "new" or "gte": post-norm layers with rotary positions and a GeGLU.

    out = down(up * gelu(gate))        up_gate_proj holds up first and gate second

The angles are those of a context that was stretched once for all (static NTK): inverse frequency i is (theta f)^(-2i/D) / f^(2/D).
Source of the names: gte-multilingual-base and gte-base-en-v1.5 on the hub; transformers' GteModel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from embermill.encoder.models.config_file import ConfigFile
from embermill.encoder.models.heads import HEADS
from embermill.encoder.models.layers import PostNormLayers, halves, linear, norm
from embermill.encoder.models.names import of_layers, shapes_of
from embermill.encoder.models.rope_parameters import RopeParameters, read_rope
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.ops.blocks import AttentionWeights, GatedMLPWeights, PostNormBlock
from embermill.encoder.ops.rotary import Rotary, inverse_frequencies
from embermill.encoder.weights.loader import NameTable, Parameters

DEFAULT_THETA = {"gte": 160_000.0, "new": 10_000.0}

_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "VE",
    "embeddings.LayerNorm.weight": "E",
    "embeddings.LayerNorm.bias": "E",
}
_TOKEN_TYPES = {"embeddings.token_type_embeddings.weight": "YE"}
_LAYER = {
    "attention.qkv_proj.weight": "QE",
    "attention.qkv_proj.bias": "Q",
    "attention.o_proj.weight": "EE",
    "attention.o_proj.bias": "E",
    "attn_ln.weight": "E",
    "attn_ln.bias": "E",
    "mlp.up_gate_proj.weight": "GE",
    "mlp.down_proj.weight": "EF",
    "mlp.down_proj.bias": "E",
    "mlp_ln.weight": "E",
    "mlp_ln.bias": "E",
}
_PREFIXES = ("new.", "gte.")


class GteConfig(NamedTuple):
    """config.json. Sizes are counts; `activation` is that of the gate, in ops' spelling. rope_factor: of the static NTK ("ntk") or of the angles ("linear")."""

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
    rope: RopeParameters

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def position_limit(self) -> int:
        return self.max_position_embeddings

    @property
    def rotary(self) -> Rotary:
        return Rotary(static_frequencies(self.rope, self.head_dim))

    def fingerprint(self) -> dict[str, object]:
        names = ("hidden_size", "num_layers", "num_heads", "intermediate_size", "vocab_size", "type_vocab_size", "activation", "layer_norm_eps")
        return {name: getattr(self, name) for name in names} | {"model_type": "gte", "rope": list(self.rope)}


def read_config(file: ConfigFile) -> GteConfig:
    """auto_map is accepted: this module does what the code that it names does."""
    file.expect(position_embedding_type="rope", layer_norm_type="layer_norm", pack_qkv=True, logn_attention_scale=False)
    file.expect(is_decoder=False, quantization_config=None)
    model_type = str(file.get("model_type"))
    config = GteConfig(
        model_type=model_type,
        hidden_size=file.positive("hidden_size"),
        num_layers=file.num_layers("num_hidden_layers"),
        num_heads=file.positive("num_attention_heads"),
        intermediate_size=file.positive("intermediate_size"),
        vocab_size=file.positive("vocab_size"),
        type_vocab_size=file.natural("type_vocab_size", default=1),
        max_position_embeddings=file.positive("max_position_embeddings"),
        activation=file.activation("hidden_act"),
        layer_norm_eps=file.number("layer_norm_eps", default=1e-12, below=1),
        rope=read_rope(file, DEFAULT_THETA[model_type], ("default", "linear", "ntk")),
    )
    file.require_heads(config.hidden_size, config.num_heads, rotary=True)
    return config


def static_frequencies(rope: RopeParameters, head_dim: int) -> np.ndarray:
    """[D/2] float32. "ntk" is the hub's spelling of what transformers calls "linear" with the larger theta and the smaller factor written out."""
    if rope.kind == "ntk":
        return inverse_frequencies(rope.theta * rope.factor, head_dim) / np.float32(rope.factor ** (2 / head_dim))
    return inverse_frequencies(rope.theta, head_dim) / np.float32(rope.factor)


def name_table(config: GteConfig) -> NameTable:
    sizes = {
        "V": config.vocab_size,
        "Y": config.type_vocab_size,
        "E": config.hidden_size,
        "Q": 3 * config.hidden_size,
        "F": config.intermediate_size,
        "G": 2 * config.intermediate_size,
    }
    letters = _EMBEDDINGS | (_TOKEN_TYPES if config.type_vocab_size else {})
    letters |= of_layers(_LAYER, "encoder.layer.{}.", config.num_layers)
    return NameTable(shapes_of(letters, sizes), _PREFIXES, ignorable=HEADS)


def build(config: GteConfig, parameters: Parameters, ops: Ops) -> Gte:
    return Gte(config, parameters, ops)


class Gte:
    """x = LayerNorm(word (+ type)); each layer: x = LayerNorm(x + attention(x)), x = LayerNorm(x + W_down (W_up x * gelu(W_gate x)))."""

    def __init__(self, config: GteConfig, parameters: Parameters, ops: Ops) -> None:
        types = parameters["embeddings.token_type_embeddings.weight"] if config.type_vocab_size else None
        self.embed = ops.embed(
            parameters["embeddings.word_embeddings.weight"],
            token_type=None if types is None else types[0],  # a single text is of type 0 throughout
            norm=norm(parameters, "embeddings.LayerNorm", config.layer_norm_eps),
        )
        self.layers = PostNormLayers(ops, lambda number: layer(config, parameters, f"encoder.layer.{number}"), config.num_layers)

    def __call__(self, batch: DeviceBatch) -> Activations:
        return self.layers(self.embed(batch), batch)


def layer(config: GteConfig, parameters: Parameters, name: str) -> PostNormBlock:
    """One layer, described."""
    up, gate = halves(linear(parameters, f"{name}.mlp.up_gate_proj"))
    return PostNormBlock(
        attention=AttentionWeights(
            qkv=linear(parameters, f"{name}.attention.qkv_proj"),
            output=linear(parameters, f"{name}.attention.o_proj"),
            num_heads=config.num_heads,
            head_dim=config.head_dim,
            rotary=config.rotary,
        ),
        attention_norm=norm(parameters, f"{name}.attn_ln", config.layer_norm_eps),
        mlp=GatedMLPWeights(
            gate=gate._replace(activation=config.activation),
            up=up,
            down=linear(parameters, f"{name}.mlp.down_proj"),
        ),
        mlp_norm=norm(parameters, f"{name}.mlp_ln", config.layer_norm_eps),
    )
