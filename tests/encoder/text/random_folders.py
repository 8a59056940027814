"""Random tokenizer folders: a case of tokenizer_folders with any settings, special tokens, added tokens and files, as nobody would write them."""

from __future__ import annotations

import random
from typing import Any

from tests.encoder.text.tokenizer_folders import Case, added, bert_normalizer, cut_on_the_left, lowercased, padded, template, token

CONTENTS = [
    "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "[unused1]", "[unused2]", "<s>", "</s>", "<mask>", "<unk>", "<pad>", "new_word", "NEW_WORD", "<extra>",
    "the", "Zip", "日本", "", "open a", " zip",
]  # fmt: skip
MODEL_TYPES = {"bert": ["bert"], "mpnet": ["mpnet"], "roberta": ["roberta"], "xlm-roberta": ["xlm-roberta", "camembert"], "modernbert": ["modernbert"]}
CLASSES = {
    "bert": ["BertTokenizer"], "mpnet": ["MPNetTokenizer"], "roberta": ["RobertaTokenizer"], "xlm-roberta": ["XLMRobertaTokenizer", "CamembertTokenizer"],
    "modernbert": ["PreTrainedTokenizerFast"],
}  # fmt: skip
FLAGS = ("do_lower_case", "tokenize_chinese_chars", "strip_accents", "add_prefix_space", "split_special_tokens")
ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "image_token")


def random_text(choose: random.Random) -> str:
    return "".join(choose.choice([*CONTENTS, " ", "", "x", "É", "中"]) for _ in range(8))


def random_case(choose: random.Random) -> Case:
    base = choose.choice(["bert", "bert", "mpnet", "roberta", "xlm-roberta", "modernbert"])
    old = {"bert": "vocab.txt", "mpnet": "vocab.txt", "roberta": "vocab.json"}.get(base)
    edits = [None, None, None, cut_on_the_left, padded, added(), added(special=False, normalized=True), lowercased]
    if base in ("bert", "mpnet"):
        edits += [bert_normalizer(lowercase=False), template(["[CLS]" if base == "bert" else "<s>", "$A"])]
    config = _config(choose, base)
    return Case(
        base,
        choose.choice(MODEL_TYPES[base]),
        config if config or choose.random() < 0.5 else None,
        _files(choose),
        choose.choice(edits),
        old if old and choose.random() < 0.2 else "tokenizer.json",
    )


def _config(choose: random.Random, base: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if choose.random() < 0.6:
        config["tokenizer_class"] = choose.choice([*CLASSES[base], "PreTrainedTokenizerFast"])
    config |= {flag: choose.choice([True, False]) for flag in FLAGS if choose.random() < 0.2}
    config |= {role: _special(choose) for role in ROLES if choose.random() < 0.12}
    if choose.random() < 0.2:
        config["additional_special_tokens"] = _several(choose)
    if choose.random() < 0.2:
        config["extra_special_tokens"] = choose.choice([_several(choose), {"x": choose.choice(CONTENTS)}, None, []])
    if choose.random() < 0.3:
        ids = ["0", "1", "2", "3", "4", "5", "6", "700", "701", "702", "900"]
        config["added_tokens_decoder"] = {choose.choice(ids): _token(choose) for _ in range(choose.randint(0, 6))}
    if choose.random() < 0.2:
        config["truncation_side"] = choose.choice(["left", "right"])
    return config


def _files(choose: random.Random) -> dict[str, Any]:
    files: dict[str, Any] = {}
    if choose.random() < 0.25:
        tokens = [choose.choice([choose.choice(CONTENTS), _token(choose)]) for _ in range(choose.randint(1, 4))]
        files["special_tokens_map.json"] = {choose.choice([*ROLES, "word_token"]): each for each in tokens}
    if choose.random() < 0.1:
        key = choose.choice(["additional_special_tokens", "extra_special_tokens"])
        files["special_tokens_map.json"] = files.get("special_tokens_map.json", {}) | {key: [choose.choice(CONTENTS) for _ in range(2)]}
    if choose.random() < 0.25:
        files["added_tokens.json"] = {choose.choice(CONTENTS): choose.choice([0, 3, 700, 701, 702, 900]) for _ in range(choose.randint(1, 3))}
    return files


def _token(choose: random.Random) -> dict[str, Any]:
    names = choose.sample(["lstrip", "rstrip", "normalized", "single_word", "special"], choose.randint(0, 5))
    return token(choose.choice(CONTENTS), **{name: choose.random() < 0.5 for name in names})


def _special(choose: random.Random) -> object:
    content = choose.choice(CONTENTS)
    return choose.choice([content, content, content, {"__type": "AddedToken", **_token(choose)}, None])


def _several(choose: random.Random) -> list[object]:
    return [choose.choice([choose.choice(CONTENTS), {"__type": "AddedToken", **_token(choose)}]) for _ in range(choose.randint(0, 3))]
