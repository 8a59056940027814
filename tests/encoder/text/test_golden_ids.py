"""Token ids equal to those that transformers made of the same folders, stored with the script that made them; no torch and no transformers is needed here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from embermill.encoder.text.tokenizer import Tokenizer
from tests.encoder.text.tokenizer_folders import CASES, GOLDEN, TEXTS, write_case

STORED = json.loads((GOLDEN / "ids.json").read_text(encoding="utf-8"))
VOCABULARY = 1000  # more than any of them has


def documents(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    tokens = tokenizer.tokenize(texts)
    return [ids.tolist() for ids in np.split(tokens.input_ids, tokens.offsets[1:-1])]


def test_every_case_is_stored() -> None:
    assert STORED["cases"].keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_ids_are_those_of_transformers(tmp_path: Path, name: str) -> None:
    folder = write_case(tmp_path, CASES[name])
    expected = [answers[index] for answers, index in zip(STORED["answers"], STORED["cases"][name], strict=True)]
    for text, ours, theirs in zip(TEXTS, documents(Tokenizer(folder, max_tokens=10_000, vocab_size=VOCABULARY), TEXTS), expected, strict=True):
        assert ours == theirs, repr(text[:80])


@pytest.mark.parametrize("name", ["xlm-roberta", "camembert"])
def test_a_unigram_that_names_no_unknown_token_gives_the_ids_of_its_class(tmp_path: Path, name: str) -> None:
    """XLMRobertaTokenizer says where the unknown token is and takes only the vocabulary from tokenizer.json."""
    folder = write_case(tmp_path, CASES[name])
    expected = documents(Tokenizer(folder, max_tokens=10_000, vocab_size=VOCABULARY), TEXTS)
    saved = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    assert saved["model"].pop("unk_id") is not None
    (folder / "tokenizer.json").write_text(json.dumps(saved), encoding="utf-8")
    assert documents(Tokenizer(folder, max_tokens=10_000, vocab_size=VOCABULARY), TEXTS) == expected
