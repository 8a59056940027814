"""config.json as published models of each family spell it: what is read from it, and what is refused, with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embermill.encoder import ModelConfigError
from embermill.encoder.models import FAMILIES, family_of, read_family_config
from embermill.encoder.models.family import FamilyConfig

SIZES = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
GPT2_SIZES = {"n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": 3072}
XLM_R = {
    "model_type": "xlm-roberta", "vocab_size": 250002, "pad_token_id": 1, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "max_position_embeddings": 514,
} | SIZES  # fmt: skip
MPNET = {"model_type": "mpnet", "vocab_size": 30527, "layer_norm_eps": 1e-5, "max_position_embeddings": 514, "relative_attention_num_buckets": 32} | SIZES
NOMIC_V1 = {
    "model_type": "nomic_bert", "vocab_size": 30528, "type_vocab_size": 2, "layer_norm_epsilon": 1e-12, "n_positions": 8192, "activation_function": "swiglu",
    "qkv_proj_bias": False, "mlp_fc1_bias": False, "mlp_fc2_bias": False, "prenorm": False, "causal": False, "use_rms_norm": False, "parallel_block": False,
    "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0, "rotary_emb_interleaved": False, "rotary_emb_scale_base": None, "rotary_scaling_factor": 2,
    "auto_map": {"AutoConfig": "configuration_hf_nomic_bert.NomicBertConfig"},
} | GPT2_SIZES  # fmt: skip
NOMIC_V1_5 = (
    NOMIC_V1
    | {"rotary_scaling_factor": None, "max_trained_positions": 2048, "max_position_embeddings": 2048, "hidden_act": "silu", "layer_norm_eps": 1e-12}
    | {"rope_parameters": {"rope_type": "default", "rope_theta": 1000.0}, "head_dim": 64}
    | SIZES
)
MODERNBERT = {
    "model_type": "modernbert", "vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12, "intermediate_size": 1152,
    "hidden_activation": "gelu", "norm_eps": 1e-5, "norm_bias": False, "attention_bias": False, "mlp_bias": False, "max_position_embeddings": 8192,
    "local_attention": 128, "global_attn_every_n_layers": 3, "global_rope_theta": 160000.0, "local_rope_theta": 10000.0,
    "layer_norm_eps": 1e-2, "position_embedding_type": "absolute",
}  # fmt: skip
GTE = {
    "model_type": "new", "vocab_size": 250048, "type_vocab_size": 1, "layer_norm_eps": 1e-12, "layer_norm_type": "layer_norm", "hidden_act": "gelu",
    "max_position_embeddings": 8192, "rope_theta": 20000, "rope_scaling": {"factor": 8.0, "type": "ntk"}, "position_embedding_type": "rope",
    "pack_qkv": True, "logn_attention_scale": False, "logn_attention_clip1": False, "unpad_inputs": False, "use_memory_efficient_attention": False,
    "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"},
} | SIZES  # fmt: skip
JINA_V2 = {"model_type": "bert", "vocab_size": 30528, "max_position_embeddings": 8192, "position_embedding_type": "alibi", "feed_forward_type": "geglu"} | SIZES
NOMIC_MOE = NOMIC_V1 | {"num_experts": 8, "moe_every_n_layers": 2, "moe_top_k": 2, "activation_function": "gelu", "qkv_proj_bias": True, "vocab_size": 250048}


def read(values: dict[str, Any]) -> FamilyConfig:
    return read_family_config(values, Path("folder/config.json"))


@pytest.mark.parametrize(
    ("values", "limit"),
    [
        (XLM_R, 512),
        (XLM_R | {"max_position_embeddings": 8194}, 8192),  # bge-m3
        (XLM_R | {"model_type": "roberta", "vocab_size": 50265}, 512),
        (XLM_R | {"model_type": "camembert", "vocab_size": 32005}, 512),
        (XLM_R | {"pad_token_id": 0, "max_position_embeddings": 513}, 512),
        ({key: value for key, value in XLM_R.items() if key != "pad_token_id"}, 512),
        (MPNET, 512),
        (NOMIC_V1, 8192),
        (NOMIC_V1_5, 8192),
        (MODERNBERT, 8192),
        (GTE, 8192),
    ],
    ids=lambda value: value if isinstance(value, int) else value["model_type"],
)
def test_position_limits(values: dict[str, Any], limit: int) -> None:
    assert read(values).position_limit == limit


def test_nomic_in_all_its_spellings() -> None:
    first: Any = read(NOMIC_V1)
    assert (first.hidden_size, first.num_layers, first.num_heads, first.intermediate_size) == (768, 12, 12, 3072)
    assert (first.rope_theta, first.scaling_factor, first.trained_positions, first.layer_norm_eps, first.activation) == (1000.0, 2.0, 2048, 1e-12, "silu")
    second: Any = read(NOMIC_V1_5)
    assert (second.rope_theta, second.scaling_factor) == (1000.0, None)
    native = {"model_type": "nomic_bert", "vocab_size": 30528, "hidden_act": "silu", "max_position_embeddings": 2048} | SIZES
    third: Any = read(native | {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 4.0}})
    assert (third.scaling_factor, third.trained_positions, third.position_limit) == (4.0, 2048, 8192)
    with pytest.raises(ModelConfigError, match="hidden_size 700 and n_embd 768 contradict each other"):
        read(NOMIC_V1 | {"hidden_size": 700})


def test_modernbert_old_and_new() -> None:
    old: Any = read(MODERNBERT)
    assert old.layer_types.count("full_attention") == 8 and old.layer_types[0] == old.layer_types[21] == "full_attention"
    assert (old.window, old.global_theta, old.local_theta, old.norm_eps) == (64, 160000.0, 10000.0, 1e-5)
    new = {key: value for key, value in MODERNBERT.items() if "rope" not in key and key != "global_attn_every_n_layers"}
    kinds = {"full_attention": {"rope_type": "default", "rope_theta": 80000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0}}
    found: Any = read(new | {"rope_parameters": kinds, "layer_types": list(old.layer_types)})
    assert (found.layer_types, found.global_theta, found.local_theta) == (old.layer_types, 80000.0, 20000.0)


def test_gte_static_ntk_in_both_spellings() -> None:
    hub: Any = read(GTE)
    native = {key: value for key, value in GTE.items() if not key.startswith("rope_")} | {"model_type": "gte"}
    theirs: Any = read(native | {"rope_parameters": {"rope_type": "linear", "rope_theta": 160000.0, "factor": 8 ** (2 / 64)}})
    np.testing.assert_allclose(hub.rotary.inverse_frequencies, theirs.rotary.inverse_frequencies, rtol=2e-7)
    np.testing.assert_allclose(hub.rotary.inverse_frequencies[[0, 16]], [8 ** (-2 / 64), 160000**-0.5 * 8 ** (-2 / 64)], rtol=2e-7)
    assert read(GTE | {"type_vocab_size": 0}).position_limit == 8192


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (JINA_V2, "a Jina v2 model although its model_type is bert"),
        (JINA_V2 | {"position_embedding_type": "absolute", "auto_map": {"AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBert"}}, "a Jina v2"),
        (NOMIC_MOE, "a mixture of experts, which is not supported; the dense ones are"),
        (NOMIC_V1 | {"prenorm": True}, "prenorm True is not supported"),
        (NOMIC_V1 | {"rotary_emb_fraction": 0.5}, "rotary_emb_fraction 0.5 is not supported"),
        (NOMIC_V1 | {"activation_function": "glu"}, "activation_function 'glu' is not supported; supported are swiglu, geglu"),
        (NOMIC_V1_5 | {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "'yarn' is not supported for this family; supported are default, dynamic"),
        (XLM_R | {"auto_map": {"AutoModel": "jinaai/xlm-roberta-flash-implementation--modeling_lora.XLMRobertaLoRA"}}, "auto_map asks for Python code"),
        (XLM_R | {"max_position_embeddings": 2}, "max_position_embeddings 2 leaves no position after the padding token's, 1"),
        (MPNET | {"relative_attention_num_buckets": 64}, "relative_attention_num_buckets 64 is not supported"),
        (MODERNBERT | {"layer_types": ["full_attention"] * 21 + ["chunked_attention"]}, "expected full_attention or sliding_attention for each of"),
        (MODERNBERT | {"layer_types": ["full_attention"]}, "for each of the 22 layers"),
        (MODERNBERT | {"rope_scaling": {"type": "linear", "factor": 2.0}}, "no rope_scaling beside it"),
        (MODERNBERT | {"hidden_activation": "silu"}, "hidden_activation 'silu' is not supported"),
        (GTE | {"position_embedding_type": "absolute"}, "position_embedding_type 'absolute' is not supported; expected 'rope'"),
        (GTE | {"layer_norm_type": "rms_norm"}, "layer_norm_type 'rms_norm' is not supported"),
        (GTE | {"logn_attention_scale": True}, "logn_attention_scale True is not supported"),
        (GTE | {"rope_scaling": {"type": "ntk", "factor": 8.0, "mixed_b": 0.5}}, "mixed_b in rope_parameters is not supported"),
        (GTE | {"num_attention_heads": 7}, "hidden_size 768 is not a multiple of num_attention_heads 7"),
        ({"model_type": "qwen3"}, "model_type 'qwen3' is not supported: it is a decoder"),
        ({"model_type": "gemma3_text"}, "'gemma3_text' is not supported: .* overflow in float16"),
        ({"model_type": "eurobert"}, "'eurobert' is not supported"),
        ({"model_type": "jina_embeddings_v3"}, "'jina_embeddings_v3' is not supported: its vectors need one of five adapters"),
    ],
)
def test_refusals_give_the_reason(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ModelConfigError, match=reason):
        read(values)


def test_a_missing_eps_is_the_familys_default() -> None:
    without = [{key: value for key, value in values.items() if "eps" not in key} for values in (XLM_R, MPNET, NOMIC_V1_5, GTE, MODERNBERT)]
    found: list[Any] = [read(values) for values in without]
    assert [found[0].bert.layer_norm_eps, *(config.layer_norm_eps for config in found[1:4]), found[4].norm_eps] == [1e-12, 1e-12, 1e-12, 1e-12, 1e-5]


@pytest.mark.parametrize("values", [XLM_R, MPNET, NOMIC_V1, MODERNBERT, GTE], ids=lambda values: values["model_type"])
def test_every_setting_that_changes_vectors_changes_the_fingerprint(values: dict[str, Any]) -> None:
    changes: dict[str, dict[str, Any]] = {
        "xlm-roberta": {"pad_token_id": 0, "layer_norm_eps": 1e-12, "hidden_act": "relu", "num_attention_heads": 8},
        "mpnet": {"layer_norm_eps": 1e-12, "hidden_act": "gelu_new", "num_attention_heads": 8},
        "nomic_bert": {"rotary_emb_base": 10000, "rotary_scaling_factor": None, "max_trained_positions": 1024, "layer_norm_epsilon": 1e-5, "n_head": 8},
        "modernbert": {"local_attention": 64, "global_attn_every_n_layers": 2, "global_rope_theta": 1e4, "local_rope_theta": 2e4, "norm_eps": 1e-6},
        "new": {"rope_theta": 10000, "rope_scaling": {"type": "ntk", "factor": 4.0}, "layer_norm_eps": 1e-5, "num_attention_heads": 8},
    }
    first = read(values).fingerprint()
    for key, value in changes[values["model_type"]].items():
        assert read(values | {key: value}).fingerprint() != first, key


def test_every_family_names_its_parameters_once() -> None:
    for values in (XLM_R, MPNET, NOMIC_V1, MODERNBERT, GTE):
        table = family_of(str(values["model_type"])).name_table(read(values))
        assert all(len(shape) in (1, 2) and min(shape) > 0 for shape in table.shapes.values())
    assert set(FAMILIES) >= {"bert", "roberta", "xlm-roberta", "camembert", "mpnet", "nomic_bert", "modernbert", "gte", "new", "model2vec"}
