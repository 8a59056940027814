"""The tokenizer and the sentence-transformers files that make a folder with weights a model that takes texts."""

from __future__ import annotations

import json
from pathlib import Path

from tests.encoder.families.cases import Case

WORDS = ["the", "a", "of", "zip", "file", "open", "how", "do", "i", "model", "text", "vector", "##s", "##ing", "read", "write", "list", "dict", "query"]


def write_tokenizer(case: Case, folder: Path) -> None:
    """WordPiece with the family's special tokens, the padding token under the id that the configuration names. Ids stay below the vocabulary's size."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    pad = case.settings.get("pad_token_id") or 0
    special = ["<s>", "</s>", "<unk>", "<mask>"]
    special.insert(pad, "<pad>")
    tokens = {token: index for index, token in enumerate((special + WORDS + list("bcdefghjklmnopqrstuvwxyz"))[: case.settings["vocab_size"]])}
    tokenizer = Tokenizer(models.WordPiece(tokens, unk_token="<unk>", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[(token, tokens[token]) for token in ("<s>", "</s>")]
    )
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"}
    names = {f"{role}_token": token for role, token in roles.items()}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": int(1e30), "model_input_names": ["input_ids", "attention_mask"]} | names
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def texts(case: Case) -> list[str]:
    """Of many lengths, the last three just below, at and above the limit (a word is a token, and special tokens take two)."""
    found = ["", "open", "how do i open a zip file", "Reading  the\tlist of texts, writing dicts?", "naïve — 漢字"]
    lengths = (30, 61, 62, 63, 64, 88, 89, 90, 126, 127, 128, case.limit - 3, case.limit - 2, case.limit - 1, case.limit + 40)
    return found + [" ".join(WORDS[(start * 7 + count * count) % 12] for count in range(start)) for start in lengths]
