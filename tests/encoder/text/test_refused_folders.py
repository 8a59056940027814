"""What of a tokenizer's folder cannot be followed is refused by name, with what to do; and doing it helps."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import pytest

from embermill.encoder import sources
from embermill.encoder.errors import InputError, TokenizerError
from embermill.encoder.text.tokenizer import Tokenizer
from tests.encoder.text.tokenizer_folders import BERT, FAST, ROBERTA, TEXTS, XLMR, Case, added, model_setting, write_case


def open_case(folder: Path, case: Case, vocab_size: int = 1000) -> Tokenizer:
    return Tokenizer(write_case(folder, case), max_tokens=100, vocab_size=vocab_size)


REFUSED = {
    "BertJapaneseTokenizer": (Case("bert", "bert", {"tokenizer_class": "BertJapaneseTokenizer"}), "tokenizer_class BertJapaneseTokenizer is not supported"),
    "BertJapaneseTokenizer, vocab.txt": (
        Case("bert", "bert", {"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}, vocabulary="vocab.txt"),
        "tokenizer_class BertJapaneseTokenizer is not supported",
    ),
    "in config.json": (
        Case("bert", "bert", None, {"config.json": {"model_type": "bert", "tokenizer_class": "BertJapaneseTokenizer"}}),
        r"config\.json: tokenizer_class BertJapaneseTokenizer is not supported.* in tokenizer_config\.json",
    ),
    "AlbertTokenizerFast": (Case("xlm-roberta", "bert", {"tokenizer_class": "AlbertTokenizerFast"}), "tokenizer_class AlbertTokenizerFast is not supported"),
    "auto_map": (Case("bert", "bert", BERT | {"auto_map": {"AutoTokenizer": ["own.Own", None]}}), "auto_map asks for Python code of the model's own"),
    "init_inputs": (Case("bert", "bert", BERT | {"init_inputs": ["vocab.txt"]}), "init_inputs is not supported"),
    "fast_tokenizer_files": (
        Case("bert", "bert", BERT | {"fast_tokenizer_files": ["tokenizer.json", "tokenizer.4.2.0.json"]}),
        "fast_tokenizer_files names tokenizer.4.2.0.json: expected tokenizer.json alone",
    ),
    "SentencePiece": (Case("xlm-roberta", "xlm-roberta", XLMR, vocabulary="sentencepiece.bpe.model"), r"expected a tokenizer\.json beside it"),
    "SentencePiece, class unsaid": (Case("xlm-roberta", "camembert", None, vocabulary="sentencepiece.bpe.model"), r"expected a tokenizer\.json beside it"),
    "nothing, SentencePiece": (
        Case("bert", "xlm-roberta", None, vocabulary="vocab.txt"),
        r"no tokenizer\.json, which XLMRobertaTokenizer is read from\. AutoTokenizer\.from_pretrained",
    ),
    "a class that has no vocab.txt": (Case("bert", "roberta", ROBERTA, vocabulary="vocab.txt"), r"no tokenizer\.json and no vocab\.json with merges\.txt"),
    "vocab.txt for PreTrainedTokenizerFast": (Case("bert", "bert", FAST, vocabulary="vocab.txt"), r"no tokenizer.*json a tokenizer_class"),
    "flags": (Case("bert", "bert", BERT | {"do_lower_case": "yes"}), "do_lower_case: expected true or false, got 'yes'"),
    "flags unset": (Case("bert", "bert", BERT | {"tokenize_chinese_chars": None}), "tokenize_chinese_chars: expected true or false, got None"),
    "strip_accents": (Case("bert", "bert", BERT | {"strip_accents": 1}), "strip_accents: expected true or false, got 1"),
    "truncation_side": (Case("bert", "bert", BERT | {"truncation_side": "top"}), "truncation_side: expected left or right, got 'top'"),
    "cls_token unset": (Case("bert", "bert", BERT | {"cls_token": None}), "cls_token: expected the text of a token, got None"),
    "cls_token unknown": (Case("bert", "bert", BERT | {"cls_token": "[NEW]"}), r"puts \[NEW\] around every text, but .*; set cls_token and sep_token in"),
    "unk_token unknown": (Case("bert", "bert", BERT | {"unk_token": "[NEW]"}), r"unk_token '\[NEW\]' is not in the vocabulary, .* set it in"),
    "a token that is a dictionary": (Case("bert", "bert", BERT | {"mask_token": {"content": "[MASK]"}}), "mask_token: expected a token's text"),
    "a token that is a number": (Case("bert", "bert", BERT | {"pad_token": 0}), "pad_token: expected a token's text, got 0"),
    "additional_special_tokens": (Case("bert", "bert", BERT | {"additional_special_tokens": "x"}), "extra_special_tokens: expected a list of tokens"),
    "extra tokens that are dictionaries": (
        Case("bert", "bert", BERT, {"special_tokens_map.json": {"additional_special_tokens": [{"content": "<extra>"}]}}),
        "additional_special_tokens: expected a token's text",
    ),
    "added_tokens_decoder": (Case("bert", "bert", BERT | {"added_tokens_decoder": {"5": "x"}}), r"added_tokens_decoder\[5\]: expected a JSON object, got 'x'"),
    "added_tokens_decoder's ids": (Case("bert", "bert", BERT | {"added_tokens_decoder": {"x": {"content": "x"}}}), "added_tokens_decoder: expected token ids"),
    "added_tokens.json": (Case("bert", "bert", BERT, {"added_tokens.json": {"x": "5"}}), r"added_tokens\.json: x: expected a token id, got '5'"),
    "added_tokens.json, a list": (Case("bert", "bert", BERT, {"added_tokens.json": ["x"]}), r"added_tokens\.json: expected a JSON object, got list"),
    "special_tokens_map.json": (
        Case("bert", "bert", BERT, {"special_tokens_map.json": {"cls_token": {"content": "[CLS]", "lstrip": "no"}}}),
        r"special_tokens_map\.json: cls_token: expected flags that are true or false",
    ),
    "no unknown token": (Case("bert", "bert", FAST, edit=model_setting(unk_token="[NEW]")), r"has no token for unknown words .*expected its unk_token"),
    "BPE with suffixes": (Case("roberta", "roberta", ROBERTA, edit=model_setting(end_of_word_suffix="</w>")), "BPE with continuing_subword_prefix or end"),
    "damaged vocab.json": (Case("roberta", "roberta", ROBERTA, {"vocab.json": {"a": "b"}}, vocabulary="vocab.json"), "not a vocabulary"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(tmp_path: Path, name: str) -> None:
    case, message = REFUSED[name]
    with pytest.raises(TokenizerError, match=message) as raised:
        open_case(tmp_path, case)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize("tokenizer_class", ["BertJapaneseTokenizer", "AlbertTokenizer"])
def test_the_advice_for_a_class_of_its_own(tmp_path: Path, tokenizer_class: str) -> None:
    with pytest.raises(TokenizerError, match=r"set tokenizer_class to PreTrainedTokenizerFast in tokenizer_config\.json"):
        open_case(tmp_path, Case("bert", "bert", {"tokenizer_class": tokenizer_class}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    ids = Tokenizer(tmp_path, max_tokens=100, vocab_size=1000).tokenize(TEXTS).input_ids.tolist()
    assert ids == open_case(tmp_path / "fast", Case("bert", "bert", FAST)).tokenize(TEXTS).input_ids.tolist()


def test_what_a_tokenizer_is_read_from_is_fetched_with_a_model() -> None:
    files = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "config.json", "vocab.txt", "vocab.json", "merges.txt"]
    files += [f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")]
    for weights in (None, "model.safetensors"):
        assert [file for file in files if not any(fnmatch(file, pattern) for pattern in sources._wanted(weights))] == []


def test_a_token_beyond_the_models_vocabulary_is_refused_where_a_text_holds_it(tmp_path: Path) -> None:
    tokenizer = open_case(tmp_path, Case("bert", "bert", BERT, edit=added()), vocab_size=700)
    assert tokenizer.tokenize(["the zip", "new word"]).num_tokens.sum() > 6
    with pytest.raises(InputError, match=r"text 12: holds the special token 'new_word' with id 700, but the model's vocabulary has ids up to 699"):
        tokenizer.tokenize(["the zip", "", "a new_word"], first=10)
    with pytest.raises(TokenizerError, match="makes ids up to 699, but the model's vocabulary has 699"):
        Tokenizer(tmp_path, max_tokens=100, vocab_size=699)
