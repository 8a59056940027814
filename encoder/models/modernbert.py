"""ModernBERT (Warner et al., 2024): pre-norm layers, rotary positions, GeGLU; two layers of three see only the 64 tokens to each side.

    x = x + W_o attention(norm(x))        the first layer's norm is the identity: the embeddings have one
    x = x + W_o (gelu(a) * b)             a and b are the first and the second half of W_i norm(x)
    hidden states = norm(x)               a last norm behind all layers

Norms and products have no biases in any published model. Global layers turn queries and keys by a theta of 160,000, local ones by 10,000.
Source of the names: transformers' ModernBertModel.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from embermill.encoder.models.config_file import ConfigFile
from embermill.encoder.models.heads import HEADS
from embermill.encoder.models.layers import PreNormLayers, halves, linear, norm, read_ahead
from embermill.encoder.models.rope_parameters import RopeParameters, rope_from
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.ops.blocks import AttentionWeights, GatedMLPWeights, PreNormBlock
from embermill.encoder.ops.rotary import Rotary, inverse_frequencies
from embermill.encoder.weights.loader import NameTable, Parameters

GLOBAL, LOCAL = "full_attention", "sliding_attention"
DEFAULT_THETA = {GLOBAL: 160_000.0, LOCAL: 10_000.0}
_OLD_THETA = {GLOBAL: "global_rope_theta", LOCAL: "local_rope_theta"}

_PREFIXES = ("model.",)


class ModernBertConfig(NamedTuple):
    """config.json. Sizes are counts; `activation` is that of the gate, in ops' spelling. layer_types: GLOBAL or LOCAL for each layer.

    window: tokens that a local layer sees to each side, half of `local_attention`.
    """

    model_type: str
    hidden_size: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    max_position_embeddings: int
    activation: str
    norm_eps: float
    layer_types: tuple[str, ...]
    window: int
    global_theta: float
    local_theta: float
    attention_bias: bool
    mlp_bias: bool
    norm_bias: bool

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def num_layers(self) -> int:
        return len(self.layer_types)

    @property
    def position_limit(self) -> int:
        return self.max_position_embeddings

    def fingerprint(self) -> dict[str, object]:
        names = ("model_type", "hidden_size", "num_heads", "intermediate_size", "vocab_size", "activation", "norm_eps", "layer_types", "window")
        return {name: getattr(self, name) for name in (*names, "global_theta", "local_theta")}


def read_config(file: ConfigFile) -> ModernBertConfig:
    """`layer_norm_eps` and `position_embedding_type` stand in published files and mean nothing there."""
    file.expect(is_decoder=False, quantization_config=None)
    file.require_no_code()
    layer_types = _layer_types(file)
    config = ModernBertConfig(
        model_type="modernbert",
        hidden_size=file.positive("hidden_size"),
        num_heads=file.positive("num_attention_heads"),
        intermediate_size=file.positive("intermediate_size"),
        vocab_size=file.positive("vocab_size"),
        max_position_embeddings=file.positive("max_position_embeddings", default=8192),
        activation=file.activation("hidden_activation"),
        norm_eps=file.number("norm_eps", default=1e-5, below=1),
        layer_types=layer_types,
        window=file.positive("local_attention", default=128) // 2,
        global_theta=_rope(file, GLOBAL).theta,
        local_theta=_rope(file, LOCAL).theta,
        attention_bias=file.flag("attention_bias", default=False),
        mlp_bias=file.flag("mlp_bias", default=False),
        norm_bias=file.flag("norm_bias", default=False),
    )
    file.require_heads(config.hidden_size, config.num_heads, rotary=True)
    return config


def _layer_types(file: ConfigFile) -> tuple[str, ...]:
    """One for each layer: listed, or every so many of them global, beginning with the first."""
    count, every = file.num_layers("num_hidden_layers"), file.positive("global_attn_every_n_layers", default=3)
    kinds = file.get("layer_types", default=[LOCAL if layer % every else GLOBAL for layer in range(count)])
    if not isinstance(kinds, list) or len(kinds) != count or not all(kind in (GLOBAL, LOCAL) for kind in kinds):
        raise file.refuse(f"layer_types: expected {GLOBAL} or {LOCAL} for each of the {count} layers, got {str(kinds)[:200]}.")
    return tuple(kinds)


def _rope(file: ConfigFile, kind: str) -> RopeParameters:
    given = file.get("rope_parameters", default={})
    if not isinstance(given, Mapping) or file.get("rope_scaling") is not None:
        raise file.refuse(f"rope_parameters: expected an object with {GLOBAL} and {LOCAL} and no rope_scaling beside it, got {given!r}.")
    theta = file.number(_OLD_THETA[kind], default=DEFAULT_THETA[kind], least=1.0)
    return rope_from(file, given.get(kind) or {}, theta, ("default",))


def name_table(config: ModernBertConfig) -> NameTable:
    e, f = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {"embeddings.tok_embeddings.weight": (config.vocab_size, e)}
    norms, products = ["embeddings.norm", "final_norm"], dict[str, tuple[int, int]]()
    for layer in range(config.num_layers):
        at = f"layers.{layer}"
        norms += [f"{at}.mlp_norm"] if layer == 0 else [f"{at}.attn_norm", f"{at}.mlp_norm"]
        products |= {f"{at}.attn.Wqkv": (3 * e, e), f"{at}.attn.Wo": (e, e), f"{at}.mlp.Wi": (2 * f, e), f"{at}.mlp.Wo": (e, f)}
    shapes |= {f"{name}.weight": (e,) for name in norms} | {f"{name}.weight": shape for name, shape in products.items()}
    if config.norm_bias:
        shapes |= {f"{name}.bias": (e,) for name in norms}
    for part, biased in ((".attn.", config.attention_bias), (".mlp.", config.mlp_bias)):
        shapes |= {f"{name}.bias": shape[:1] for name, shape in products.items() if biased and part in name}
    return NameTable(shapes, _PREFIXES, ignorable=HEADS)


def build(config: ModernBertConfig, parameters: Parameters, ops: Ops) -> ModernBert:
    return ModernBert(config, parameters, ops)


class ModernBert:
    """x = LayerNorm(word), then the pre-norm layers, and a last LayerNorm."""

    def __init__(self, config: ModernBertConfig, parameters: Parameters, ops: Ops) -> None:
        self.embed = ops.embed(parameters["embeddings.tok_embeddings.weight"], norm=norm(parameters, "embeddings.norm", config.norm_eps))
        blocks = read_ahead(lambda number: layer(config, parameters, number), config.num_layers)
        self.layers = PreNormLayers(ops, blocks, norm(parameters, "final_norm", config.norm_eps))

    def __call__(self, batch: DeviceBatch) -> Activations:
        return self.layers(self.embed(batch), batch)


def layer(config: ModernBertConfig, parameters: Parameters, number: int) -> PreNormBlock:
    """One layer, described."""
    name, is_local = f"layers.{number}", config.layer_types[number] == LOCAL
    theta = config.local_theta if is_local else config.global_theta
    activated, plain = halves(linear(parameters, f"{name}.mlp.Wi"))
    return PreNormBlock(
        attention_norm=None if number == 0 else norm(parameters, f"{name}.attn_norm", config.norm_eps),
        attention=AttentionWeights(
            qkv=linear(parameters, f"{name}.attn.Wqkv"),
            output=linear(parameters, f"{name}.attn.Wo"),
            num_heads=config.num_heads,
            head_dim=config.head_dim,
            rotary=Rotary(inverse_frequencies(theta, config.head_dim)),
            window=config.window if is_local else None,
        ),
        mlp_norm=norm(parameters, f"{name}.mlp_norm", config.norm_eps),
        mlp=GatedMLPWeights(gate=activated._replace(activation=config.activation), up=plain, down=linear(parameters, f"{name}.mlp.Wo")),
    )
