"""Model folders: what is read, and a clear error for each thing that cannot be honoured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embermill.encoder.config import DenseConfig, Normalize, read_model_config
from embermill.encoder.errors import ModelConfigError
from embermill.encoder.models.bert import BertConfig
from tests.encoder.tiny_bert import TinyBert, write_json, write_sentence_transformers

TANH = "torch.nn.modules.activation.Tanh"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_json(tmp_path / "config.json", TinyBert().config())
    return tmp_path


def test_a_plain_folder_means_mean_pooling_and_no_norm(folder: Path) -> None:
    config = read_model_config(folder)
    assert (config.pooling, config.head, config.normalizes, config.max_seq_length, config.dimension) == ("mean", (), False, None, 30)
    assert isinstance(config.transformer, BertConfig)
    assert (config.transformer.head_dim, config.transformer.activation, config.transformer.layer_norm_eps) == (10, "gelu", 1e-12)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "last"])
def test_sentence_transformers_layout(folder: Path, pooling: str) -> None:
    write_sentence_transformers(folder, 30, pooling=pooling, dense=[(8, TANH, True)], max_seq_length=12, prompts={"q": "query: "}, default_prompt="q")
    config = read_model_config(folder)
    assert config.pooling == pooling and config.max_seq_length == 12 and config.dimension == 8
    assert config.head == (DenseConfig(folder / "2_Dense", 30, 8, True, "tanh"), Normalize()) and config.normalizes
    assert config.prompts == {"q": "query: "} and config.default_prompt_name == "q"


@pytest.mark.parametrize(("spelled", "meant"), [({"pooling_mode": "lasttoken"}, "last"), ({"pooling_mode": ["cls"]}, "cls"), ({}, "mean")])
def test_newer_spelling_of_pooling(folder: Path, spelled: dict[str, Any], meant: str) -> None:
    write_sentence_transformers(folder, 30)
    write_json(folder / "1_Pooling" / "config.json", {"embedding_dimension": 30} | spelled)
    assert read_model_config(folder).pooling == meant


def test_the_transformer_may_have_a_folder_of_its_own(folder: Path) -> None:
    write_sentence_transformers(folder, 30)
    write_json(folder / "0_Transformer" / "config.json", TinyBert(layers=5).config())
    modules = [("0_Transformer", "Transformer"), ("1_Pooling", "Pooling"), ("", "Dropout")]
    write_json(folder / "modules.json", [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in modules])
    config = read_model_config(folder)
    assert isinstance(config.transformer, BertConfig)
    assert config.transformer_folder == folder / "0_Transformer" and config.transformer.num_layers == 5 and config.head == ()


CONFIG_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "relative positions": ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key' is not supported"),
    "a decoder": ({"is_decoder": True}, "is_decoder True is not supported"),
    "quantised": ({"quantization_config": {"bits": 4}}, "quantization_config .* is not supported"),
    "remote code": ({"auto_map": {"AutoModel": "modeling_x.X"}}, "never run"),
    "unknown activation": ({"hidden_act": "silu"}, "hidden_act 'silu' is not supported"),
    "heads that do not divide": ({"num_attention_heads": 7}, "not a multiple of num_attention_heads 7"),
    "missing size": ({"hidden_size": None}, "hidden_size: expected a positive whole number, got None"),
    "size that is no number": ({"vocab_size": "many"}, "vocab_size: expected a positive whole number, got 'many'"),
    "size beyond 31 bits": ({"vocab_size": 1 << 31}, "vocab_size: expected a positive whole number below 2\\^31, got 2147483648"),
    "size of 400 digits": ({"max_position_embeddings": 10**400}, "max_position_embeddings: expected a positive whole number below 2\\^31, got 10000"),
    "epsilon of 400 digits": ({"layer_norm_eps": 10**400}, "layer_norm_eps: expected a number from 0 to 1"),
    "epsilon out of range": ({"layer_norm_eps": -1}, "layer_norm_eps: expected a number from 0 to 1"),
    "an encoder-decoder, which has none of our keys": (dict.fromkeys(("hidden_size", "num_hidden_layers")) | {"model_type": "t5"}, "model_type 't5' is not"),
    "a decoder of another family": ({"model_type": "llama", "hidden_act": "silu"}, "model_type 'llama' is not supported: it is a decoder"),
    "an encoder with a BERT's keys": ({"model_type": "layoutlm"}, "model_type 'layoutlm' is not supported; supported are bert"),
    "no type": ({"model_type": None, "architectures": ["LlamaModel"]}, "expected a model_type"),
}


@pytest.mark.parametrize("fault", CONFIG_FAULTS)
def test_faults_of_config_json(folder: Path, fault: str) -> None:
    changes, message = CONFIG_FAULTS[fault]
    write_json(folder / "config.json", TinyBert().config() | changes)
    with pytest.raises(ModelConfigError, match=message) as caught:
        read_model_config(folder)
    assert str(folder / "config.json") in str(caught.value)


def test_a_config_of_2019_names_no_type(folder: Path) -> None:
    config = TinyBert().config()
    del config["model_type"], config["architectures"]
    write_json(folder / "config.json", config)
    assert read_model_config(folder).transformer.model_type == "bert"


FOLDER_FAULTS: dict[str, tuple[str, Any, str]] = {
    "modules that are no list": ("modules.json", {}, "expected a JSON list"),
    "a module of the model's own": ("modules.json", [{"path": "", "type": "custom_st.Transformer"}], "code of the model's own"),
    "a path that leaves the folder": ("modules.json", [{"path": "../x", "type": "sentence_transformers.models.Pooling"}], "a path inside the model's folder"),
    "no pooling": ("modules.json", [{"path": "", "type": "sentence_transformers.models.Transformer"}], "expected a Transformer, then a Pooling"),
    "two ways of pooling": ("1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, r"pooling mode cls \+ mean is not"),
    "another way of pooling": ("1_Pooling/config.json", {"pooling_mode": "attention"}, "pooling mode attention is not supported"),
    "one that does not exist yet": ("1_Pooling/config.json", {"pooling_mode_attention": True}, r"pooling mode mean \+ pooling_mode_attention is not supported"),
    "pooling of other width": ("1_Pooling/config.json", {"word_embedding_dimension": 768}, "pools 768 columns, but the transformer makes 30"),
    "dense of other width": ("2_Dense/config.json", {"in_features": 9, "out_features": 8}, "in_features is 9, but what comes in has 30"),
    "unknown dense activation": ("2_Dense/config.json", {"in_features": 30, "out_features": 8, "activation_function": "torch.nn.SiLU"}, "SiLU is not supp"),
    "dense with a residual": ("2_Dense/config.json", {"in_features": 30, "out_features": 30, "use_residual": True}, "use_residual is not supported"),
    "settings unheard of": ("sentence_bert_config.json", {"processing_kwargs": {"text": {"max_length": 3}}}, "processing_kwargs .* is not supported"),
    "length that is no number": ("sentence_bert_config.json", {"max_seq_length": "long"}, "max_seq_length: expected a positive whole number"),
    "a cross-encoder": ("config_sentence_transformers.json", {"model_type": "CrossEncoder"}, "a CrossEncoder does not make one dense vector"),
    "prompts that are no texts": ("config_sentence_transformers.json", {"prompts": {"a": 1}}, "expected prompts as an object"),
    "a default that is no prompt": ("config_sentence_transformers.json", {"prompts": {}, "default_prompt_name": "q"}, "'q' is not among the prompts"),
}


@pytest.mark.parametrize("fault", FOLDER_FAULTS)
def test_faults_of_the_folder(folder: Path, fault: str) -> None:
    file, content, message = FOLDER_FAULTS[fault]
    write_sentence_transformers(folder, 30, dense=[(8, TANH, True)])
    write_json(folder / file, content)
    with pytest.raises(ModelConfigError, match=message) as caught:
        read_model_config(folder)
    assert str(folder / file) in str(caught.value)


def test_pooling_given_replaces_even_what_is_not_supported(folder: Path) -> None:
    write_sentence_transformers(folder, 30)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode": "attention"})
    assert read_model_config(folder, "cls").pooling == "cls"
    with pytest.raises(ModelConfigError, match="expected one of cls, mean, max, last"):
        read_model_config(folder, "median")


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff"])
def test_files_that_are_no_json(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(ModelConfigError, match=r"config\.json: (not valid JSON|expected a JSON object)"):
        read_model_config(folder)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelConfigError, match=r"config\.json: not there"):
        read_model_config(tmp_path)
