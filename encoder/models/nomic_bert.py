"""NomicBERT (Nussbaum et al., 2024), the dense one: BERT's post-norm layers with rotary positions, SwiGLU and no biases in products.

    out = fc2(fc11(x) * silu(fc12(x)))        queries and keys turned by their position, theta 1000

A document longer than the trained positions is turned by a theta of its own length (dynamic NTK), where config.json asks for that.
config.json comes in two spellings, that of GPT-2 (n_embd, n_head, ...) and transformers' own, and in both at once.
Source of the names: nomic-embed-text-v1.5 on the hub.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from embermill.encoder.models.config_file import MAX_WHOLE, ConfigFile
from embermill.encoder.models.heads import HEADS
from embermill.encoder.models.layers import PostNormLayers, linear, norm
from embermill.encoder.models.names import of_layers, shapes_of
from embermill.encoder.models.rope_parameters import RopeParameters, read_rope
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.ops.blocks import AttentionWeights, GatedMLPWeights, PostNormBlock
from embermill.encoder.ops.rotary import DynamicNtk, Rotary, inverse_frequencies
from embermill.encoder.weights.loader import NameTable, Parameters

TRAINED_POSITIONS = 2048
TRUNCATION_NORM_EPS = 1e-5
"""nomic-embed-text-v1.5 was trained to be cut behind a LayerNorm of the whole vector. Its model card says so; no file in its folder does."""
_GATES = {"swiglu": "silu", "geglu": "gelu"}

_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "VE",
    "embeddings.token_type_embeddings.weight": "YE",
    "emb_ln.weight": "E",
    "emb_ln.bias": "E",
}
_LAYER = {
    "attn.Wqkv.weight": "QE",
    "attn.out_proj.weight": "EE",
    "norm1.weight": "E",
    "norm1.bias": "E",
    "mlp.fc11.weight": "FE",
    "mlp.fc12.weight": "FE",
    "mlp.fc2.weight": "EF",
    "norm2.weight": "E",
    "norm2.bias": "E",
}
_PREFIXES = ("bert.", "nomic_bert.")


class NomicBertConfig(NamedTuple):
    """config.json. Sizes are counts; `activation` is that of the gate, in ops' spelling. scaling_factor: of the dynamic NTK; None: there is none."""

    model_type: str
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    type_vocab_size: int
    activation: str
    layer_norm_eps: float
    rope_theta: float
    scaling_factor: float | None
    trained_positions: int
    position_limit: int

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def rotary(self) -> Rotary:
        dynamic = None if self.scaling_factor is None else DynamicNtk(self.rope_theta, self.scaling_factor, self.trained_positions)
        return Rotary(inverse_frequencies(self.rope_theta, self.head_dim), dynamic)

    def fingerprint(self) -> dict[str, object]:
        names = ("model_type", "hidden_size", "num_layers", "num_heads", "intermediate_size", "vocab_size", "type_vocab_size", "activation")
        scaling = {} if self.scaling_factor is None else {"scaling_factor": self.scaling_factor, "trained_positions": self.trained_positions}
        return {name: getattr(self, name) for name in (*names, "layer_norm_eps", "rope_theta")} | scaling


def read_config(file: ConfigFile) -> NomicBertConfig:
    """auto_map is accepted: this module does what the code that it names does."""
    _require_dense(file)
    hidden_size = int(_agreed(file, "hidden_size", "n_embd"))
    num_heads = int(_agreed(file, "num_attention_heads", "n_head"))
    file.require_heads(hidden_size, num_heads, rotary=True)
    file.expect(head_dim=hidden_size // num_heads)
    rope = read_rope(file, 1000.0, ("default", "dynamic"), ("rope_theta", "rotary_emb_base"))
    factor, trained, longest = _positions(file, rope)
    return NomicBertConfig(
        model_type="nomic_bert",
        hidden_size=hidden_size,
        num_layers=min(int(_agreed(file, "num_hidden_layers", "n_layer")), file.num_layers("num_hidden_layers", "n_layer")),
        num_heads=num_heads,
        intermediate_size=int(_agreed(file, "intermediate_size", "n_inner")),
        vocab_size=file.positive("vocab_size"),
        type_vocab_size=file.positive("type_vocab_size", default=2),
        activation=_gate(file),
        layer_norm_eps=file.number("layer_norm_eps", "layer_norm_epsilon", default=1e-12, below=1),
        rope_theta=rope.theta,
        scaling_factor=factor,
        trained_positions=trained,
        position_limit=longest,
    )


def _require_dense(file: ConfigFile) -> None:
    if file.get("moe_every_n_layers", default=0) or (file.get("num_experts", default=0) or 0) > 1:
        raise file.refuse("this is a Nomic model with a mixture of experts, which is not supported; the dense ones are, such as nomic-embed-text-v1.5.")
    file.expect(prenorm=False, parallel_block=False, use_rms_norm=False, causal=False, is_decoder=False, quantization_config=None)
    file.expect(qkv_proj_bias=False, mlp_fc1_bias=False, mlp_fc2_bias=False)
    file.expect(rotary_emb_fraction=1.0, rotary_emb_interleaved=False, rotary_emb_scale_base=None)


def _agreed(file: ConfigFile, *names: str) -> Any:
    """A positive number under one name or the other; where it is under both, the same."""
    found = {name: file.positive(name) for name in names if file.get(name) is not None}
    if len(set(found.values())) > 1:
        raise file.refuse(f"{' and '.join(f'{name} {value}' for name, value in found.items())} contradict each other; they name the same size.")
    return file.positive(*names)


def _gate(file: ConfigFile) -> str:
    """The activation of the gate: GPT-2's key names the whole unit, transformers' the function."""
    unit = file.get("activation_function")
    if unit is not None and unit not in _GATES:
        raise file.refuse(f"activation_function {unit!r} is not supported; supported are {', '.join(_GATES)}.")
    return file.activation("hidden_act", default="silu" if unit is None else _GATES[unit], supported=("silu", "gelu", "gelu_new"))


def _positions(file: ConfigFile, rope: RopeParameters) -> tuple[float | None, int, int]:
    """(factor of the dynamic NTK or None, positions above which it sets in, tokens of the longest document).

    transformers' max_position_embeddings are the trained positions where its rope_type is dynamic; GPT-2's n_positions are all that there are.
    """
    stated = [file.positive(name) for name in ("n_positions", "max_position_embeddings") if file.get(name) is not None]
    if rope.kind == "dynamic":
        factor, trained = rope.factor, file.positive("max_position_embeddings", default=TRAINED_POSITIONS)
        longest = file.positive("n_positions", default=max(trained, min(int(trained * factor), MAX_WHOLE)))
        return factor, trained, longest
    if file.get("rotary_scaling_factor"):
        trained = file.positive("max_trained_positions", default=TRAINED_POSITIONS)
        return file.number("rotary_scaling_factor", least=1.0), trained, max(stated, default=trained)
    return None, 0, max(stated, default=TRAINED_POSITIONS)


def name_table(config: NomicBertConfig) -> NameTable:
    sizes = {
        "V": config.vocab_size,
        "Y": config.type_vocab_size,
        "E": config.hidden_size,
        "Q": 3 * config.hidden_size,
        "F": config.intermediate_size,
    }
    letters = _EMBEDDINGS | of_layers(_LAYER, "encoder.layers.{}.", config.num_layers)
    return NameTable(shapes_of(letters, sizes), _PREFIXES, ignorable=HEADS)


def build(config: NomicBertConfig, parameters: Parameters, ops: Ops) -> NomicBert:
    return NomicBert(config, parameters, ops)


class NomicBert:
    """x = LayerNorm(word + type); each layer: x = LayerNorm(x + attention(x)), x = LayerNorm(x + W_2 (W_11 x * silu(W_12 x)))."""

    def __init__(self, config: NomicBertConfig, parameters: Parameters, ops: Ops) -> None:
        self.embed = ops.embed(
            parameters["embeddings.word_embeddings.weight"],
            token_type=parameters["embeddings.token_type_embeddings.weight"][0],  # a single text is of type 0 throughout
            norm=norm(parameters, "emb_ln", config.layer_norm_eps),
        )
        self.layers = PostNormLayers(ops, lambda number: layer(config, parameters, f"encoder.layers.{number}"), config.num_layers)

    def __call__(self, batch: DeviceBatch) -> Activations:
        return self.layers(self.embed(batch), batch)


def layer(config: NomicBertConfig, parameters: Parameters, name: str) -> PostNormBlock:
    """One layer, described."""
    return PostNormBlock(
        attention=AttentionWeights(
            qkv=linear(parameters, f"{name}.attn.Wqkv"),
            output=linear(parameters, f"{name}.attn.out_proj"),
            num_heads=config.num_heads,
            head_dim=config.head_dim,
            rotary=config.rotary,
        ),
        attention_norm=norm(parameters, f"{name}.norm1", config.layer_norm_eps),
        mlp=GatedMLPWeights(
            gate=linear(parameters, f"{name}.mlp.fc12", config.activation),
            up=linear(parameters, f"{name}.mlp.fc11"),
            down=linear(parameters, f"{name}.mlp.fc2"),
        ),
        mlp_norm=norm(parameters, f"{name}.norm2", config.layer_norm_eps),
    )
