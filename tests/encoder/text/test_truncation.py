"""Every kind of tokenizer at every limit: special tokens stay, the text is cut at the side that is asked for, and what is dropped is counted exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.encoder.errors import InputError
from embermill.encoder.text.tokenizer import TokenizedTexts, Tokenizer
from tests.encoder.text.tokenizer_folders import CASES, TEXTS, cut_on_the_left, write_case

KINDS = ("bert", "mpnet", "roberta", "xlm-roberta", "camembert", "modernbert", "bert, vocab.txt", "roberta, vocab.json and merges.txt")
SIDES = ("left", "right")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("folders")
    cases = {(kind, side): CASES[kind]._replace(config=(CASES[kind].config or {}) | {"truncation_side": side}) for kind in KINDS for side in SIDES}
    return {key: write_case(root / str(number), case) for number, (key, case) in enumerate(cases.items())}


def documents(tokens: TokenizedTexts) -> list[list[int]]:
    return [ids.tolist() for ids in np.split(tokens.input_ids, tokens.offsets[1:-1])]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(max_tokens=st.integers(3, 40), texts=st.lists(st.one_of(st.sampled_from(TEXTS), st.text(max_size=60)), max_size=5))
def test_a_text_is_cut_between_its_special_tokens(folders: dict[tuple[str, str], Path], kind: str, side: str, max_tokens: int, texts: list[str]) -> None:
    whole = documents(Tokenizer(folders[kind, side], max_tokens=100_000, vocab_size=1000).tokenize(texts)) if texts else []
    tokens = Tokenizer(folders[kind, side], max_tokens=max_tokens, vocab_size=1000).tokenize(texts)
    for ids, kept, count, dropped in zip(whole, documents(tokens), tokens.num_tokens, tokens.num_tokens_dropped, strict=False):
        inner = ids[1:-1]
        assert kept == [ids[0], *(inner[: max_tokens - 2] if side == "right" else inner[max(0, len(inner) - max_tokens + 2) :]), ids[-1]]
        assert count == len(kept) and dropped == len(ids) - len(kept)
    assert len(tokens.num_tokens) == len(texts)


def test_the_side_that_tokenizer_json_names(tmp_path: Path) -> None:
    folder = write_case(tmp_path, CASES["bert"]._replace(edit=cut_on_the_left))
    tokens = Tokenizer(folder, max_tokens=5, vocab_size=1000).tokenize(["the zip file 1 2 3"])
    assert documents(tokens) == [[*documents(Tokenizer(folder, max_tokens=5, vocab_size=1000).tokenize(["1 2 3"]))[0]]]


@pytest.mark.parametrize("kind", KINDS)
def test_100_000_characters_without_a_blank(folders: dict[tuple[str, str], Path], kind: str) -> None:
    texts = ["x" * 100_000, "é\u0301日" * 33_333]
    whole = Tokenizer(folders[kind, "right"], max_tokens=1_000_000, vocab_size=1000).tokenize(texts)
    tokens = Tokenizer(folders[kind, "right"], max_tokens=20, vocab_size=1000).tokenize(texts)
    assert (tokens.num_tokens + tokens.num_tokens_dropped).tolist() == whole.num_tokens.tolist()
    assert not whole.num_tokens_dropped.any()


@pytest.mark.parametrize("kind", KINDS)
def test_lone_surrogates_are_refused(folders: dict[tuple[str, str], Path], kind: str) -> None:
    with pytest.raises(InputError, match=r"text 1: not valid Unicode \(a lone surrogate at character 2\)"):
        Tokenizer(folders[kind, "left"], max_tokens=20, vocab_size=1000).tokenize(["a\x00b", "ab\udc80"])
