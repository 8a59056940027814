"""The fingerprint's `tokenizer_settings`: there only where the other files give a folder's texts other ids than tokenizer.json alone, and of what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from embermill.encoder.description import describe
from embermill.encoder.text.building import open_tokenizer
from embermill.encoder.text.digest import settings_digest
from embermill.encoder.text.stored import read_tokenizer_json
from embermill.encoder.text.vocabulary_file import earlier_word_piece
from tests.encoder.text.tokenizer_folders import (
    BERT,
    CASES,
    FAST,
    ROBERTA,
    TEXTS,
    XLMR,
    Case,
    bert_normalizer,
    cut_on_the_left,
    pre_tokenizer,
    token,
    write_case,
)
from tests.encoder.tiny_bert import TinyBert, write_json, write_sentence_transformers

# The texts show no difference here, and yet there is one that a text could show: a special token that is never made, added tokens that no text holds.
UNSEEN = {"roberta, unknown token in the file", "camembert", "camembert, defaults"}


def digest(folder: Path, case: Case, *, lowercase: bool = False, lowercase_in_config: bool = False) -> str | None:
    return settings_digest(write_case(folder, case), lowercase=lowercase, lowercase_in_config=lowercase_in_config)


@pytest.mark.parametrize("name", CASES)
def test_it_is_there_where_ids_differ(tmp_path: Path, name: str) -> None:
    found = digest(tmp_path, CASES[name])
    stored = read_tokenizer_json(tmp_path)
    earlier = stored.library if stored is not None else earlier_word_piece(tmp_path)
    if earlier is None:  # embermill could not read such a folder
        assert found is not None
        return
    same = [encoding.ids for encoding in earlier.encode_batch(TEXTS)] == [encoding.ids for encoding in open_tokenizer(tmp_path).library.encode_batch(TEXTS)]
    assert (found is None) == (same and name not in UNSEEN)


def test_the_side_where_texts_are_cut(tmp_path: Path) -> None:
    """That of tokenizer_config.json is part of `config` since before; that of tokenizer.json was not followed."""
    assert digest(tmp_path / "config", Case("bert", "bert", BERT | {"truncation_side": "left"})) is None
    assert digest(tmp_path / "file", Case("bert", "bert", BERT, edit=cut_on_the_left)) is not None
    assert digest(tmp_path / "both", Case("bert", "bert", BERT | {"truncation_side": "left"}, edit=cut_on_the_left)) is None


def test_it_is_of_the_settings_and_not_of_files(tmp_path: Path) -> None:
    one = digest(tmp_path / "1", Case("bert", "bert", BERT | {"cls_token": "[unused1]", "do_lower_case": False}))
    two = digest(tmp_path / "2", Case("bert", "bert", {"do_lower_case": False, "name_or_path": "x"}, {"special_tokens_map.json": {"cls_token": "[unused1]"}}))
    three = digest(tmp_path / "3", Case("bert", "bert", BERT | {"cls_token": "[unused2]", "do_lower_case": False}))
    assert one == two != three != None  # noqa: E711


def test_digests_stay_what_they_were(tmp_path: Path) -> None:
    """Datasets were made with them: a new setting is None where it changes nothing."""
    cased = digest(tmp_path / "1", Case("bert", "bert", BERT | {"do_lower_case": False}))
    added = digest(tmp_path / "2", Case("bert", "bert", FAST, {"added_tokens.json": {"new_word": 700}}))
    lowercase = digest(tmp_path / "3", Case("roberta", "roberta", None), lowercase=True)
    assert [cased, added, lowercase] == FROZEN


FROZEN = [
    "194c7dc9af60e6ee7d6c3c9ea56f8a1615cbee71b660788c4dbc94c4020ba8b1",
    "a8682696bb30ee220e55141ec2d3cdb120e76a15f6a3c7efb522d6ba4e433b62",
    "08842cdc18ffd41e9aef616c300d41221557f369d02250f3f8d45d89879c4e95",
]


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", "[unused2]"]
OLD_METASPACE = {
    "type": "Sequence",
    "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "str_rep": "▁"}],
}
ALL_ADDED = {str(index): token(content) for index, content in enumerate(SPECIAL)}
BERT_PROCESSING = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
SAME = {
    "an older Metaspace": Case("xlm-roberta", "bert", XLMR, edit=pre_tokenizer(OLD_METASPACE)),
    "BertProcessing": Case("bert", "bert", BERT, edit=lambda saved: saved.update(post_processor=BERT_PROCESSING)),
    "accents spelled out": Case("bert", "bert", BERT, edit=bert_normalizer(strip_accents=True)),
    "tokens listed twice": Case("bert", "bert", BERT | {"added_tokens_decoder": ALL_ADDED}, {"special_tokens_map.json": {"cls_token": "[CLS]"}}),
    "tokens normalised where nothing is": Case("roberta", "roberta", ROBERTA | {"added_tokens_decoder": {"0": token("<s>", normalized=True)}}),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_the_same_said_in_another_way(tmp_path: Path, name: str) -> None:
    """Published folders are of such forms: they keep their fingerprints."""
    assert digest(tmp_path, SAME[name]) is None


def test_lowercasing_for_sentence_transformers(tmp_path: Path) -> None:
    case = Case("roberta", "roberta", None)
    assert digest(tmp_path, case, lowercase=True, lowercase_in_config=True) is None
    assert digest(tmp_path, case, lowercase=True) is not None
    assert digest(tmp_path, Case("bert", "bert", None), lowercase=True) is None  # which lowercases already


def test_a_model_folder(tmp_path: Path) -> None:
    """The key is added to a fingerprint, and nothing else in it changes."""
    bert = TinyBert()
    folder = write_sentence_transformers(bert.write(tmp_path), bert.hidden, max_seq_length=30)
    plain = describe(folder).fingerprint()
    assert "tokenizer_settings" not in plain
    write_json(folder / "tokenizer_config.json", BERT | {"do_lower_case": False})
    cased = describe(folder).fingerprint()
    assert {key: cased[key] for key in plain} == plain and cased.keys() - plain.keys() == {"tokenizer_settings"}
    write_json(folder / "tokenizer_config.json", BERT | {"cls_token": "[MASK]", "added_tokens_decoder": {"2": token("[CLS]")}})
    assert describe(folder).fingerprint()["tokenizer_settings"] != cased["tokenizer_settings"]


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"])
def test_settings_of_the_transformer_under_older_names(tmp_path: Path, kind: str) -> None:
    """Limit and lowercasing are read as sentence-transformers reads them; the fingerprint of a folder without such a file stays what it was."""
    bert = TinyBert()
    folder = write_sentence_transformers(bert.write(tmp_path), bert.hidden)
    write_json(folder / "tokenizer_config.json", FAST)
    saved = (folder / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(saved.replace('"lowercase": true', '"lowercase": false'), encoding="utf-8")
    (folder / "sentence_bert_config.json").unlink()
    before = describe(folder)
    write_json(folder / f"sentence_{kind}_config.json", {"max_seq_length": 17, "do_lower_case": True})
    after = describe(folder)
    assert (before.max_tokens, after.max_tokens) == (40, 17)
    assert after.open_tokenizer().tokenize(["ZIP"]).input_ids.tolist() == after.open_tokenizer().tokenize(["zip"]).input_ids.tolist()
    old, new = before.fingerprint(), after.fingerprint()
    assert {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)} == {"max_tokens", "tokenizer_settings"}
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 21, "do_lower_case": True})
    named = describe(folder)
    assert named.max_tokens == 21 and "tokenizer_settings" not in named.fingerprint()
    write_json(folder / "sentence_bert_config.json", {})
    assert describe(folder).max_tokens == 17
