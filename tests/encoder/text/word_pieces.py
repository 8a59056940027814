"""Random WordPiece tokenizers: vocabulary, prefix, normaliser, pre-tokenizer, special and added tokens as any published model may have them, and odder."""

from __future__ import annotations

import random
from typing import Any

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFÉéßøñжЖйшא한日本語漢0123456789.,-'!?()#"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def random_word_piece(seed: int) -> Any:
    """A tokenizers.Tokenizer."""
    from tokenizers import Tokenizer, models

    choose = random.Random(seed)
    prefix = choose.choice(["##", "##", "##", "@@"])
    tokenizer = Tokenizer(
        models.WordPiece(
            _vocabulary(choose, prefix),
            unk_token="[UNK]",
            max_input_chars_per_word=choose.choice([100, 100, 30, 7]),
            continuing_subword_prefix=prefix,
        )
    )
    tokenizer.normalizer = _normalizer(choose)
    tokenizer.pre_tokenizer = _pre_tokenizer(choose)
    _add_tokens(choose, tokenizer)
    tokenizer.post_processor = _ends(choose, tokenizer)
    return tokenizer


def _vocabulary(choose: random.Random, prefix: str) -> dict[str, int]:
    letters = choose.sample(LETTERS, choose.randint(30, len(LETTERS)))
    words = {"".join(choose.choices(letters, k=choose.randint(2, 5))) for _ in range(choose.randint(20, 400))}
    begins = [*letters, *sorted(words)]
    inside = [prefix + piece for piece in choose.sample(begins, len(begins) * 2 // 3)]
    return {token: index for index, token in enumerate(dict.fromkeys([*SPECIAL, *begins, *inside]))}


def _normalizer(choose: random.Random) -> Any:
    from tokenizers import normalizers as n

    flags = {name: choose.random() < 0.6 for name in ("clean_text", "handle_chinese_chars", "lowercase")}
    plain: list[list[Any]] = [[n.NFD(), n.Lowercase(), n.StripAccents()], [n.NFKC(), n.Lowercase()], [n.NFC()], [n.Lowercase()]]
    bert = n.BertNormalizer(**flags, strip_accents=choose.choice([None, True, False]))
    several: list[Any] = [bert, bert, bert, bert, bert, n.Sequence(choose.choice(plain)), None]
    return choose.choice(several)


def _pre_tokenizer(choose: random.Random) -> Any:
    from tokenizers import pre_tokenizers as p

    several: list[Any] = [*[p.BertPreTokenizer()] * 6, p.Whitespace(), p.Sequence([p.WhitespaceSplit(), p.Punctuation()])]
    return choose.choice(several)


def _add_tokens(choose: random.Random, tokenizer: Any) -> None:
    from tokenizers import AddedToken

    tokenizer.add_special_tokens([AddedToken(content, normalized=False, special=True) for content in SPECIAL])
    for content in choose.sample(["new_word", "NEW", "<x>", "[unused1]", "é", "a b", "日本", "ab"], choose.choice([0, 0, 1, 3])):
        flags = {name: choose.random() < 0.4 for name in ("lstrip", "rstrip", "single_word", "normalized")}
        token = AddedToken(content, special=choose.random() < 0.5, **flags)
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])


def _ends(choose: random.Random, tokenizer: Any) -> Any:
    from tokenizers import processors

    cls, sep = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    bert = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    only_first = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", cls)])
    return choose.choice([bert, bert, bert, only_first, None])
