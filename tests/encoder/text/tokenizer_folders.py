"""Tokenizer folders as people have them: the small tokenizers of tests/golden/tokenizers with the files that may lie beside them, each said by a case.

CASES are folders whose ids must equal transformers' (tests/golden/tokenizers/ids.json); REFUSED are folders that we refuse by name.
"""

# ruff: noqa: RUF001
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

GOLDEN = Path(__file__).parents[2] / "golden" / "tokenizers"

LANGUAGES = [
    "Ångström naïve café Ärger über Straße ÉCOLE señor coração ĞIŞÜÖ İstanbul ısı ΣΊΣΥΦΟΣ σίσυφος",
    "日本語の文章 東京都 中文分词测试 한국어 문장 ไทย हिन्दी भाषा தமிழ் नमस्ते",
    "שלום עולם مرحبا بالعالم السلام Привет, мир! ПРИВЕТ Добрый день",
    "The ZIP File opens; How Do I read a LIST? [CLS] [SEP] <s> </s> <mask> don't can't it's",
]

TEXTS = [
    "", " ", "\t\n \r\n", "a", " a", "a ", "  two  blanks  ", "The ZIP File", "HOW do I open a zip file?",
    "\N{ZERO WIDTH NO-BREAK SPACE}byte order mark", "Ångström naïve ÉCOLE Straße", "e\u0301cole cafe\u0301 n\u0303", "İstanbul ΣΊΣΥΦΟΣ",
    "日本語の文章 東京都abc", "中文,分词。测试!", "한국어 문장", "नमस्ते हिन्दी", "שלום עולם \u200fمرحبا",
    "👩\u200d👩\u200d👧\u200d👦 family 🏳️\u200d🌈 👍🏽", "nul\x00inside \x01\x7f", "soft\u00adhyphen zero\u200bwidth \u2028 line",
    "a\u0300\u0301\u0302\u0323\u0324b", "[CLS] inside [SEP] and [MASK]", "[cls] [Sep] [mask] [unk]", "<s> inside </s> <mask> <unk><pad>",
    "x<mask>y x <mask> y", "[UNK][PAD] [unused1]", "a[unused2]b", "<extra> one", "<EXTRA> two<extra>", "new_word NEW_WORD new_words",
    "ﬁne ＡＢｂ … nb\u00a0sp", "don't can't it's we'll 's", "  'there  's", "snake_case CamelCase x=1;y+=2", "\ufffd\U0010fffd\ue000",
    "ß ẞ ŉ ǆ K", "1234567890 3.14 1e-5 ½ ²", "a" * 99 + " " + "a" * 100 + " " + "a" * 101 + " " + "a" * 201, "x" * 3000,
    "the zip file " * 60,
]  # fmt: skip
"""Nasty ones. A further one of 100,000 characters without a blank is made in the tests, since its ids are too many to store."""


class Case(NamedTuple):
    """A folder: a tokenizer of tests/golden/tokenizers, the model_type of config.json, tokenizer_config.json, other files, and a change of tokenizer.json.

    vocabulary: "tokenizer.json", or the files from before there was one.
    """

    base: str
    model_type: str | None
    config: dict[str, Any] | None
    files: dict[str, Any] = {}  # noqa: RUF012
    edit: Callable[[dict[str, Any]], None] | None = None
    vocabulary: str = "tokenizer.json"


def write_case(folder: Path, case: Case) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    saved = json.loads((GOLDEN / case.base / "tokenizer.json").read_text(encoding="utf-8"))
    if case.edit:
        case.edit(saved)
    if case.vocabulary == "tokenizer.json":
        _write(folder / "tokenizer.json", saved)
    elif case.vocabulary == "vocab.txt":
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in saved["model"]["vocab"]), encoding="utf-8")
    elif case.vocabulary == "vocab.json":
        _write(folder / "vocab.json", saved["model"]["vocab"])
        (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in saved["model"]["merges"]), encoding="utf-8")
    else:
        (folder / case.vocabulary).write_bytes((GOLDEN / case.base / case.vocabulary).read_bytes())
    if case.model_type is not None:
        _write(folder / "config.json", {"model_type": case.model_type, "vocab_size": 800, "max_position_embeddings": 512})
    if case.config is not None:
        _write(folder / "tokenizer_config.json", case.config)
    for name, value in case.files.items():
        _write(folder / name, value)
    return folder


def _write(file: Path, value: object) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def token(content: str, **flags: bool) -> dict[str, Any]:
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True} | flags


def normalizer(value: dict[str, Any] | None) -> Callable[[dict[str, Any]], None]:
    return lambda saved: saved.update(normalizer=value)


def pre_tokenizer(value: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    return lambda saved: saved.update(pre_tokenizer=value)


def lowercased_first(saved: dict[str, Any]) -> None:
    saved["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, saved["normalizer"]]}


def lowercased(saved: dict[str, Any]) -> None:
    saved["normalizer"] = {"type": "Lowercase"}


def bert_normalizer(**flags: bool | None) -> Callable[[dict[str, Any]], None]:
    return normalizer({"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True} | flags)


def model_setting(**values: object) -> Callable[[dict[str, Any]], None]:
    return lambda saved: saved["model"].update(values)


def cut_on_the_left(saved: dict[str, Any]) -> None:
    saved["truncation"] = {"direction": "Left", "max_length": 64, "strategy": "LongestFirst", "stride": 0}


def padded(saved: dict[str, Any]) -> None:
    saved["padding"] = {
        "strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "new_word",
    }  # fmt: skip


def added(**flags: bool) -> Callable[[dict[str, Any]], None]:
    """new_word as a token of tokenizer.json's own, behind the vocabulary."""
    return lambda saved: saved["added_tokens"].append({"id": len(saved["model"]["vocab"])} | token("new_word", **flags))


def template(single: list[str]) -> Callable[[dict[str, Any]], None]:
    def change(saved: dict[str, Any]) -> None:
        vocab = saved["model"]["vocab"]
        parts = [{"Sequence": {"id": "A", "type_id": 0}} if part == "$A" else {"SpecialToken": {"id": part, "type_id": 0}} for part in single]
        tokens = {part: {"id": part, "ids": [vocab[part]], "tokens": [part]} for part in single if part != "$A"}
        pair = [*parts, {"Sequence": {"id": "B", "type_id": 1}}]
        saved["post_processor"] = {"type": "TemplateProcessing", "single": parts, "pair": pair, "special_tokens": tokens}

    return change


BERT = {"tokenizer_class": "BertTokenizer"}
FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}
MPNET = {"tokenizer_class": "MPNetTokenizer"}
ROBERTA = {"tokenizer_class": "RobertaTokenizer"}
XLMR = {"tokenizer_class": "XLMRobertaTokenizer"}
CAMEMBERT = {"tokenizer_class": "CamembertTokenizer"}
WORD = token("new_word", special=False, normalized=True)
UNMARKED = {"content": "new_word", "lstrip": False, "normalized": True}
MASK = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}

CASES = {
    # tokenizer_config.json beside tokenizer.json
    "bert": Case("bert", "bert", BERT | {"do_lower_case": True}),
    "bert, no tokenizer_config.json": Case("bert", "bert", None),
    "bert, cased": Case("bert", "bert", BERT | {"do_lower_case": False}),
    "bert, cased in tokenizer.json alone": Case("bert", "bert", None, edit=bert_normalizer(lowercase=False)),
    "bert, cased in tokenizer.json, class only": Case("bert", "bert", BERT, edit=bert_normalizer(lowercase=False)),
    "bert, accents kept": Case("bert", "bert", BERT | {"strip_accents": False}),
    "bert, accents stripped, cased": Case("bert", "bert", BERT | {"do_lower_case": False, "strip_accents": True}),
    "bert, Chinese not split": Case("bert", "bert", BERT | {"tokenize_chinese_chars": False}),
    "bert, other classes of its kind": Case("bert", "bert", {"tokenizer_class": "DistilBertTokenizerFast", "do_lower_case": False}),
    "bert, Electra": Case("bert", "distilbert", {"tokenizer_class": "ElectraTokenizer", "strip_accents": False}),
    "bert, keys that change nothing": Case(
        "bert", "bert", BERT | {"never_split": ["zip"], "do_basic_tokenize": False, "clean_text": False, "padding_side": "left"},
    ),
    "bert, class in config.json": Case("bert", "bert", {"do_lower_case": False}, {"config.json": {"model_type": "bert", "tokenizer_class": "BertTokenizer"}}),
    "bert, no class": Case("bert", "nomic_bert", {"do_lower_case": False}),
    "bert, long words": Case("bert", "bert", BERT, edit=model_setting(max_input_chars_per_word=200)),
    "bert, another normalizer": Case("bert", "bert", BERT, edit=normalizer({"type": "NFKC"})),
    "bert, pre_tokenizer": Case("bert", "bert", BERT, edit=pre_tokenizer({"type": "WhitespaceSplit"})),
    "bert, other ends in tokenizer.json": Case("bert", "bert", BERT, edit=template(["[MASK]", "$A", "[CLS]"])),
    # special tokens
    "bert, cls_token": Case("bert", "bert", BERT | {"cls_token": "[unused1]"}),
    "bert, cls_token and sep_token typed": Case("bert", "bert", BERT | {"cls_token": {"__type": "AddedToken", **token("[unused2]")}, "sep_token": "[MASK]"}),
    "bert, unk_token": Case("bert", "bert", BERT | {"unk_token": "[unused1]"}),
    "bert, pad and mask unset": Case("bert", "bert", BERT | {"pad_token": None, "mask_token": None, "bos_token": None}),
    "bert, bos_token": Case("bert", "bert", BERT | {"bos_token": "new_word"}),
    "bert, a token with a name of its own": Case("bert", "bert", BERT | {"image_token": "new_word"}),
    "bert, additional_special_tokens": Case("bert", "bert", BERT | {"additional_special_tokens": ["<extra>", "new_word"]}),
    "bert, extra_special_tokens": Case("bert", "bert", BERT | {"extra_special_tokens": ["<extra>"], "additional_special_tokens": ["new_word"]}),
    "bert, extra_special_tokens by name": Case("bert", "bert", BERT | {"extra_special_tokens": {"word": "new_word"}}),
    "bert, extra_special_tokens typed": Case("bert", "bert", BERT | {"extra_special_tokens": [{"__type": "AddedToken", **WORD}]}),
    "bert, special_tokens_map.json": Case(
        "bert", "bert", BERT | {"cls_token": "[MASK]"}, {"special_tokens_map.json": {"cls_token": "[unused1]", "sep_token": token("[unused2]")}},
    ),
    "bert, special_tokens_map.json extra": Case("bert", "bert", BERT, {"special_tokens_map.json": {"additional_special_tokens": ["<extra>", "new_word"]}}),
    "bert, special_tokens_map.json extra list": Case(
        "bert", "bert", BERT | {"extra_special_tokens": ["<extra>"]}, {"special_tokens_map.json": {"extra_special_tokens": [UNMARKED, "<extra>"]}},
    ),
    "bert, special_tokens_map.json unread": Case(
        "bert", "bert", BERT | {"added_tokens_decoder": {"5": token("[unused1]")}}, {"special_tokens_map.json": {"cls_token": "[unused1]"},
        "added_tokens.json": {"new_word": 700}},
    ),
    "bert, split_special_tokens": Case("bert", "bert", BERT | {"split_special_tokens": True}),
    # added tokens
    "bert, added_tokens.json": Case("bert", "bert", BERT, {"added_tokens.json": {"new_word": 700, "<extra>": 701}}),
    "bert, added_tokens.json, special": Case(
        "bert", "bert", BERT | {"additional_special_tokens": ["new_word"]}, {"added_tokens.json": {"new_word": 700, "<extra>": 701}},
    ),
    "bert, added_tokens.json, other ids": Case("bert", "bert", BERT, {"added_tokens.json": {"new_word": 900, "<extra>": 800}}),
    "bert, added_tokens_decoder": Case(
        "bert", "bert", BERT | {"added_tokens_decoder": {"700": WORD, "0": token("[PAD]"), "1": token("[UNK]"), "2": token("[CLS]"), "3": token("[SEP]")}},
    ),
    "bert, added_tokens_decoder alone": Case("bert", "bert", BERT | {"added_tokens_decoder": {"700": token("new_word", single_word=True, special=False)}}),
    "bert, added_tokens_decoder, stripping": Case("bert", "bert", BERT | {"added_tokens_decoder": {"4": token("[MASK]", lstrip=True, rstrip=True)}}),
    "bert, added_tokens_decoder, short": Case("bert", "bert", BERT | {"added_tokens_decoder": {"700": {"content": "NEW_WORD"}}}),
    "bert, added in tokenizer.json": Case("bert", "bert", BERT, edit=added(special=False, normalized=True)),
    "bert, added in tokenizer.json, not in the decoder": Case(
        "bert", "bert", BERT | {"added_tokens_decoder": {"2": token("[CLS]")}}, edit=added(special=False),
    ),
    # vocab.txt alone
    "bert, vocab.txt": Case("bert", "bert", BERT, vocabulary="vocab.txt"),
    "bert, vocab.txt, cased": Case("bert", "bert", {"do_lower_case": False}, vocabulary="vocab.txt"),
    "bert, vocab.txt, nothing else": Case("bert", "distilbert", None, vocabulary="vocab.txt"),
    "bert, vocab.txt, all the files": Case(
        "bert", "bert", BERT | {"strip_accents": False}, {"special_tokens_map.json": {"cls_token": "[unused1]"},
        "added_tokens.json": {"new_word": 700}}, vocabulary="vocab.txt",
    ),
    "bert, vocab.txt, added_tokens_decoder": Case("bert", "bert", BERT | {"added_tokens_decoder": {"700": WORD}}, vocabulary="vocab.txt"),
    "mpnet, vocab.txt": Case("mpnet", "mpnet", None, vocabulary="vocab.txt"),
    "roberta, vocab.json and merges.txt": Case("roberta", "roberta", None, vocabulary="vocab.json"),
    "roberta, vocab.json, all the files": Case(
        "roberta", "roberta", ROBERTA | {"add_prefix_space": True}, {"special_tokens_map.json": {"mask_token": token("<mask>", lstrip=True)},
        "added_tokens.json": {"new_word": 700}}, vocabulary="vocab.json",
    ),
    # tokenizer.json as it is
    "fast": Case("bert", "bert", FAST | {"do_lower_case": False, "strip_accents": False, "cls_token": "[CLS]", "unk_token": "[UNK]"}),
    "fast, special tokens": Case("bert", "bert", FAST | {"cls_token": "[unused1]", "mask_token": "new_word", "additional_special_tokens": ["<extra>"]}),
    "fast, added_tokens_decoder": Case("bert", "bert", FAST | {"added_tokens_decoder": {"4": token("[MASK]", lstrip=True), "700": WORD}}),
    "fast, added_tokens.json": Case("bert", "bert", FAST, {"added_tokens.json": {"new_word": 700}}),
    "fast, padded": Case("bert", "bert", FAST, edit=padded),
    "fast, padded, pad_token": Case("bert", "bert", FAST | {"pad_token": "[PAD]"}, edit=padded),
    "fast, split_special_tokens": Case("bert", "bert", FAST | {"split_special_tokens": True}),
    "fast, TokenizersBackend": Case("bert", "bert", {"tokenizer_class": "TokenizersBackend", "add_bos_token": True, "bos_token": "[CLS]"}),
    "fast, a class that transformers does not know": Case("bert", "bert", {"tokenizer_class": "SomebodysTokenizer", "do_lower_case": False}),
    "fast, another normalizer": Case("bert", "bert", FAST, edit=normalizer({"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]})),
    "new model type": Case("xlm-roberta", "new", XLMR),
    "new model type, no class": Case("xlm-roberta", "new", None),
    "modernbert": Case("modernbert", "modernbert", FAST),
    "modernbert, RobertaTokenizer": Case("modernbert", "modernbert", ROBERTA | {"add_prefix_space": True}),
    "modernbert, no tokenizer_config.json": Case("modernbert", "modernbert", None),
    "modernbert, added_tokens_decoder": Case(
        "modernbert", "modernbert",
        FAST | {"added_tokens_decoder": {"4": token("[MASK]", lstrip=True), "700": token("|||NEW|||")}, "extra_special_tokens": ["<extra>"]},
    ),
    # the other classes
    "mpnet": Case("mpnet", "mpnet", MPNET | {"do_lower_case": True, "mask_token": {"__type": "AddedToken", **token("<mask>", lstrip=True)}}),
    "mpnet, defaults": Case("mpnet", "mpnet", None),
    "mpnet, cased": Case("mpnet", "mpnet", MPNET | {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}),
    "mpnet, special tokens": Case(
        "mpnet", "mpnet", MPNET | {"cls_token": "<mask>", "mask_token": "<unk>", "added_tokens_decoder": {"0": token("<s>", normalized=True)}},
    ),
    "mpnet, MPNetTokenizer on a BERT": Case("bert", "bert", MPNET | {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}),
    "roberta": Case("roberta", "roberta", ROBERTA),
    "roberta, defaults": Case("roberta", "roberta", None),
    "roberta, prefix space": Case("roberta", "roberta", ROBERTA | {"add_prefix_space": True, "trim_offsets": False}),
    "roberta, no prefix space in the file": Case("roberta", "roberta", ROBERTA, edit=lambda saved: saved["pre_tokenizer"].update(add_prefix_space=True)),
    "roberta, mask_token": Case("roberta", "roberta", ROBERTA | {"mask_token": MASK}),
    "roberta, special tokens": Case("roberta", "roberta", ROBERTA | {"cls_token": "<mask>", "sep_token": "<pad>", "unk_token": "new_word"}),
    "roberta, normalizer in the file": Case("roberta", "roberta", ROBERTA, edit=lowercased),
    "roberta, unknown token in the file": Case("roberta", "roberta", ROBERTA, edit=model_setting(unk_token="<unk>", fuse_unk=True)),
    "roberta, Longformer": Case("roberta", "roberta", {"tokenizer_class": "LongformerTokenizerFast"}, {"added_tokens.json": {"<extra>": 700}}),
    "xlm-roberta": Case("xlm-roberta", "xlm-roberta", XLMR),
    "xlm-roberta, defaults": Case("xlm-roberta", "xlm-roberta", None),
    "xlm-roberta, BERT's weights": Case("xlm-roberta", "bert", XLMR | {"mask_token": MASK, "sp_model_kwargs": {}}),
    "xlm-roberta, no prefix space": Case("xlm-roberta", "xlm-roberta", XLMR | {"add_prefix_space": False}),
    "xlm-roberta, cls_token is bos_token": Case("xlm-roberta", "xlm-roberta", XLMR | {"cls_token": "<mask>", "bos_token": "<pad>"}),
    "xlm-roberta, additional_special_tokens": Case("xlm-roberta", "xlm-roberta", XLMR | {"additional_special_tokens": ["<extra>"], "do_lower_case": True}),
    "xlm-roberta, unknown token elsewhere": Case("xlm-roberta", "xlm-roberta", XLMR, edit=model_setting(unk_id=5)),
    "xlm-roberta, byte fallback": Case("xlm-roberta", "xlm-roberta", XLMR, edit=model_setting(byte_fallback=True)),
    "xlm-roberta, other steps in the file": Case(
        "xlm-roberta", "xlm-roberta", XLMR,
        edit=pre_tokenizer({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}),
    ),
    "xlm-roberta, as stored": Case("xlm-roberta", "bert", FAST | {"mask_token": MASK}),
    "xlm-roberta, normalizer in the file": Case(
        "xlm-roberta", "xlm-roberta", XLMR,
        edit=lowercased_first,
    ),
    "camembert": Case("xlm-roberta", "camembert", CAMEMBERT),
    "camembert, defaults": Case("xlm-roberta", "camembert", None),
    "camembert, extra tokens": Case("xlm-roberta", "camembert", CAMEMBERT | {"additional_special_tokens": ["<extra>"], "unk_token": "<pad>"}),
}  # fmt: skip

# Published folders that transformers 5 reads as another kind of tokenizer than tokenizer.json holds: there tokenizer.json counts.
ENDS = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": MASK}
UNNAMED = Case("xlm-roberta", "bert", ENDS | {"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None, "model_max_length": 512})
MMLW = Case("xlm-roberta", "roberta", ROBERTA | {"mask_token": MASK})
