"""Random small models of every family: odd sizes, every spelling of config.json, in transformers' words. No torch is needed to list them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

CASES_PER_FAMILY = 8
LENGTHS = (1, 2, 63, 64, 65, 66, 90, 91, 92, 128, 129, 130)  # around ModernBERT's window of 64, MPNet's last bucket at 91, and 128

Settings = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One random model. settings: transformers' configuration. limit: tokens of its longest document. rewritten: keys of config.json as people's files
    spell them, None to leave one out; the reference never sees these. heads: the class with a head that is saved, where it is not the bare model."""

    family: str
    architecture: str  # transformers' class names without their ending: "XLMRoberta"
    settings: Settings
    limit: int
    first_word: int = 5  # ids below it are special
    rewritten: Settings = field(default_factory=dict)
    head: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        head = f"-{self.head}" if self.head else ""
        return f"{self.family}-{self.seed}{head}{'-rewritten' if self.rewritten else ''}"

    @property
    def lengths(self) -> tuple[int, ...]:
        return (*LENGTHS, self.limit - 1, self.limit)

    @property
    def depends_on_batch(self) -> bool:
        """With dynamic NTK transformers takes theta from the longest document of a batch, and of batches before it; a document of ours has its own."""
        return self.family == "nomic_bert" and self.settings["rope_parameters"]["rope_type"] == "dynamic"

    def documents(self) -> list[list[int]]:
        """Token ids of a document of each length, special tokens not among them."""
        random = np.random.default_rng(self.seed + 1000)
        return [random.integers(self.first_word, self.settings["vocab_size"], length).tolist() for length in self.lengths]


class Draw:
    """The random sizes of one model, odd wherever a size may be odd."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.heads = self.pick(1, 2, 3, 5, 7)
        self.head_dim = self.pick(4, 6, 10, 16, 22, 32)
        self.layers = self.pick(1, 2, 4, 5)
        self.inner = self.pick(17, 37, 45, 51, 75)
        self.vocab = self.pick(41, 67, 103)
        self.limit = self.pick(131, 135, 141, 149)
        self.eps = self.pick(1e-5, 1e-12, 3e-6)
        self.activation = self.pick("gelu", "gelu", "gelu_new", "relu")

    def pick(self, *values: Any) -> Any:
        return values[int(self.random.integers(len(values)))]

    @property
    def hidden(self) -> int:
        return int(self.heads * self.head_dim)

    def settings(self, **others: Any) -> Settings:
        return {
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.inner,
            "vocab_size": self.vocab,
            "hidden_act": self.activation,
            "layer_norm_eps": self.eps,
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.1,
        } | others


def bert(draw: Draw, seed: int) -> Case:
    settings = draw.settings(max_position_embeddings=draw.limit, type_vocab_size=draw.pick(1, 2), pad_token_id=0)
    return Case("bert", "Bert", settings, draw.limit, head=draw.pick("", "ForMaskedLM", "ForPreTraining", "ForSequenceClassification"))


def roberta_like(family: str, architecture: str) -> Callable[[Draw, int], Case]:
    def make(draw: Draw, seed: int) -> Case:
        pad = draw.pick(1, 1, 0, 3)
        types = draw.pick(1, 1, 2)  # granite's first models have 2
        settings = draw.settings(max_position_embeddings=draw.limit + pad + 1, type_vocab_size=types, pad_token_id=pad)
        head = draw.pick("", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
        return Case(family, architecture, settings, draw.limit, head=head)

    return make


def mpnet(draw: Draw, seed: int) -> Case:
    settings = draw.settings(max_position_embeddings=draw.limit + 2, pad_token_id=1, relative_attention_num_buckets=32)
    return Case("mpnet", "MPNet", settings, draw.limit, head=draw.pick("", "ForMaskedLM", "ForSequenceClassification"))


def distilbert(draw: Draw, seed: int) -> Case:
    settings = {
        "dim": draw.hidden,
        "n_layers": draw.layers,
        "n_heads": draw.heads,
        "hidden_dim": draw.inner,
        "vocab_size": draw.vocab,
        "activation": draw.pick("gelu", "gelu", "relu"),
        "max_position_embeddings": draw.limit,
        "sinusoidal_pos_embds": draw.pick(False, False, True),
        "pad_token_id": 0,
    }
    return Case("distilbert", "DistilBert", settings, draw.limit, head=draw.pick("", "ForMaskedLM", "ForSequenceClassification", "ForQuestionAnswering"))


def nomic_bert(draw: Draw, seed: int) -> Case:
    """Dynamic NTK in every other one; the hub's spelling (GPT-2's words) in some, both spellings in one file in others."""
    trained = draw.pick(57, 83)
    dynamic = seed % 2 == 0
    theta, factor = draw.pick(1000.0, 10000.0), draw.pick(2.0, 4.0)
    scaled = {"rope_type": "dynamic", "rope_theta": theta, "factor": factor}
    settings = draw.settings(
        hidden_act="silu",
        max_position_embeddings=trained if dynamic else draw.limit,
        type_vocab_size=draw.pick(1, 2),
        pad_token_id=0,
        rope_parameters=scaled if dynamic else {"rope_type": "default", "rope_theta": theta},
    )
    limit = draw.limit if not dynamic else int(trained * factor)
    limit_of_hub = draw.limit
    hub = {
        "n_embd": draw.hidden, "n_layer": draw.layers, "n_head": draw.heads, "n_inner": draw.inner, "layer_norm_epsilon": draw.eps,
        "n_positions": limit_of_hub, "max_trained_positions": trained, "rotary_emb_base": theta, "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": factor if dynamic else None,
        "activation_function": "swiglu", "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "prenorm": False, "causal": False,
        "use_rms_norm": False, "parallel_block": False, "scale_attn_weights": True, "pad_vocab_size_multiple": 64,
        "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
    }  # fmt: skip
    ours = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "layer_norm_eps", "max_position_embeddings", "rope_parameters")
    spelling = seed // 2 % 3
    if spelling == 0:
        return Case("nomic_bert", "NomicBert", settings, limit)
    left_out = {} if spelling == 2 else dict.fromkeys((*ours, "hidden_act", "head_dim"))
    both = {"rope_parameters": None} if spelling == 2 and dynamic else {}
    return Case("nomic_bert", "NomicBert", settings, max(limit_of_hub, settings["max_position_embeddings"]), rewritten=hub | left_out | both)


def modernbert(draw: Draw, seed: int) -> Case:
    every = draw.pick(2, 3, 3)
    kinds = ["full_attention" if layer % every == 0 else "sliding_attention" for layer in range(draw.layers)]
    window = draw.pick(128, 128, 38)
    bias = seed % 4 == 3  # no published model has them; the configuration allows them
    rope = {"full_attention": {"rope_type": "default", "rope_theta": 160000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}
    settings = {
        "hidden_size": draw.hidden,
        "num_hidden_layers": draw.layers,
        "num_attention_heads": draw.heads,
        "intermediate_size": draw.inner,
        "vocab_size": draw.vocab,
        "hidden_activation": draw.activation,
        "norm_eps": draw.eps,
        "max_position_embeddings": draw.limit,
        "local_attention": window,
        "layer_types": kinds,
        "rope_parameters": rope,
        "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2,
        "attention_bias": bias, "mlp_bias": bias, "norm_bias": bias,
    }  # fmt: skip
    old = {
        "rope_parameters": None, "layer_types": None, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0, "global_attn_every_n_layers": every,
        "position_embedding_type": "absolute", "layer_norm_eps": 0.01,
    }  # fmt: skip
    head = draw.pick("", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")
    return Case("modernbert", "ModernBert", settings, draw.limit, rewritten=old if seed % 2 else {}, head=head)


def gte(draw: Draw, seed: int) -> Case:
    """Static NTK as transformers spells it (a linear scaling of a larger theta) and as the hub does ({"type": "ntk"} beside the plain theta)."""
    theta, factor = draw.pick(20000.0, 500000.0), draw.pick(2.0, 8.0)
    scaled = seed % 4 != 3
    rope: Settings = {"rope_type": "default", "rope_theta": theta}
    if scaled:
        rope = {"rope_type": "linear", "rope_theta": theta * factor, "factor": factor ** (2 / draw.head_dim)}
    types = draw.pick(0, 1, 2)
    settings = draw.settings(max_position_embeddings=draw.limit, type_vocab_size=types, pad_token_id=draw.pick(0, 1), rope_parameters=rope)
    hub = {
        "model_type": "new", "architectures": ["NewModel"], "rope_parameters": None, "rope_theta": theta,
        "rope_scaling": {"type": "ntk", "factor": factor} if scaled else None, "position_embedding_type": "rope", "pack_qkv": True,
        "layer_norm_type": "layer_norm", "logn_attention_scale": False, "logn_attention_clip1": False, "unpad_inputs": False,
        "use_memory_efficient_attention": False,
        "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"},
    }  # fmt: skip
    head = draw.pick("", "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification")
    return Case("gte", "Gte", settings, draw.limit, rewritten=hub if seed % 2 else {}, head=head)


FAMILIES: dict[str, Callable[[Draw, int], Case]] = {
    "bert": bert,
    "roberta": roberta_like("roberta", "Roberta"),
    "xlm-roberta": roberta_like("xlm-roberta", "XLMRoberta"),
    "camembert": roberta_like("camembert", "Camembert"),
    "mpnet": mpnet,
    "distilbert": distilbert,
    "nomic_bert": nomic_bert,
    "modernbert": modernbert,
    "gte": gte,
}


def cases(family: str, count: int = CASES_PER_FAMILY) -> list[Case]:
    """The same `count` random models of a family every time."""
    first = 100 * list(FAMILIES).index(family)
    return [replace(FAMILIES[family](Draw(first + seed), seed), seed=seed) for seed in range(count)]


LONGEST = 8192


def long_cases() -> list[Case]:
    """Models of few and narrow layers with 8,192 positions, as the published models have them: rotations that any last bit of a frequency turns further."""
    sizes: Settings = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 1, "intermediate_size": 75, "vocab_size": 997, "pad_token_id": 0}
    modernbert: Settings = {
        "norm_eps": 1e-5, "max_position_embeddings": LONGEST, "local_attention": 128, "global_attn_every_n_layers": 2,
        "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2,
    }  # fmt: skip
    ntk = {"rope_type": "linear", "rope_theta": 20000.0 * 8, "factor": 8.0 ** (2 / 64)}
    dynamic = {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 4.0}
    plain = {"rope_type": "default", "rope_theta": 1000.0}
    nomic: Settings = {"hidden_act": "silu", "type_vocab_size": 2, "layer_norm_eps": 1e-12}
    return [
        Case("modernbert", "ModernBert", sizes | modernbert, LONGEST, seed=90),
        Case("nomic_bert", "NomicBert", sizes | nomic | {"max_position_embeddings": 2048, "rope_parameters": dynamic}, LONGEST, seed=91),
        Case("nomic_bert", "NomicBert", sizes | nomic | {"max_position_embeddings": LONGEST, "rope_parameters": plain}, LONGEST, seed=92),
        Case("gte", "Gte", sizes | {"hidden_act": "gelu", "type_vocab_size": 1, "max_position_embeddings": LONGEST, "rope_parameters": ntk}, LONGEST, seed=93),
    ]
