"""XLM-RoBERTa's real vocabulary: ids of docstrings, Debian package descriptions and nasty texts, against transformers and SentencePiece."""

from __future__ import annotations

import ast
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from embermill.encoder.text.digest import settings_digest
from embermill.encoder.text.tokenizer import Tokenizer
from tests.encoder.text.real_vocabulary import RealVocabulary, normalize, read_real_vocabulary, sentence_piece_model
from tests.encoder.text.test_golden_ids import documents
from tests.encoder.text.test_reference_ids import LONG, transformers_ids
from tests.encoder.text.tokenizer_folders import ENDS, MASK, ROBERTA, TEXTS, XLMR

pytestmark = pytest.mark.reference

SPECIAL = ("<s>", "</s>", "<unk>", "<pad>", "<mask>")
JOINER = "\u200d"  # a blank in XLM-RoBERTa's table, itself in that of today's SentencePiece

ACCENTS = "a\u0300\u0301"


@pytest.fixture(scope="module")
def vocabulary() -> RealVocabulary:
    return read_real_vocabulary()


@pytest.fixture(scope="module")
def model(vocabulary: RealVocabulary) -> bytes:
    pytest.importorskip("sentencepiece", reason="infra/install_reference.sh installs it")
    return sentence_piece_model(vocabulary)


@pytest.fixture(scope="module")
def converted(model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that transformers makes of the SentencePiece model."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("converted")
    (folder / "sentencepiece.bpe.model").write_bytes(model)
    (folder / "config.json").write_text('{"model_type": "xlm-roberta"}')
    AutoTokenizer.from_pretrained(str(folder)).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*TEXTS, *LONG, *docstrings(), *debian_descriptions()]


def docstrings() -> Iterator[str]:
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        yield from (text for node in nodes if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)))


def debian_descriptions() -> Iterator[str]:
    """Of the packages that this machine has; none where it is no Debian."""
    status = Path("/var/lib/dpkg/status")
    if status.is_file():
        for package in status.read_text(encoding="utf-8").split("\n\n"):
            _, _, after = package.partition("\nDescription: ")
            yield "\n".join([line for number, line in enumerate(after.split("\n")) if number == 0 or line.startswith(" ")])


def folder_of(tmp_path: Path, converted: Path, config: dict[str, object], model_type: str) -> Path:
    (tmp_path / "tokenizer.json").write_bytes((converted / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    return tmp_path


def our_ids(folder: Path, texts: list[str]) -> list[list[int]]:
    return documents(Tokenizer(folder, max_tokens=1_000_000, vocab_size=250_037), texts)


def test_ids_are_those_of_transformers(converted: Path, texts: list[str], tmp_path: Path) -> None:
    assert len(texts) > 3500
    theirs = transformers_ids(converted, texts)
    assert our_ids(converted, texts) == theirs
    e5 = folder_of(tmp_path, converted, XLMR | ENDS | {"sp_model_kwargs": {}, "model_max_length": 512}, "bert")
    assert our_ids(e5, texts) == theirs == transformers_ids(e5, texts)


@pytest.mark.parametrize(("config", "model_type"), [(ENDS | {"do_lower_case": True}, "bert"), (ROBERTA | {"mask_token": MASK}, "roberta")])
def test_folders_that_name_another_class(converted: Path, tmp_path: Path, config: dict[str, object], model_type: str) -> None:
    """As paraphrase-multilingual-MiniLM-L12-v2 and the mmlw models were published."""
    folder = folder_of(tmp_path, converted, config, model_type)
    assert our_ids(folder, TEXTS) == transformers_ids(converted, TEXTS)
    assert settings_digest(folder, lowercase=False, lowercase_in_config=False) is None


@pytest.mark.parametrize("model_name", ["paraphrase-multilingual-MiniLM-L12-v2", "mmlw"])
def test_the_table_of_the_readme(converted: Path, tmp_path: Path, model_name: str) -> None:
    if model_name == "mmlw":
        folder = folder_of(tmp_path, converted, {**ROBERTA, "mask_token": MASK}, "roberta")
    else:
        folder = folder_of(tmp_path, converted, {**ENDS, "do_lower_case": True}, "bert")
    rows = [row for row in guide_table() if row[0].startswith(model_name)]
    texts = [row[1] for row in rows]
    assert len(texts) == 3
    for row, theirs, ours in zip(rows, transformers_ids(folder, texts), our_ids(folder, texts), strict=True):
        begin, _, end = row[2].removesuffix(f" ({len(theirs)} ids)").partition(" … ")
        shown = " ".join(map(str, theirs))
        assert shown == begin or (end and shown.startswith(f"{begin} ") and shown.endswith(f" {end}")), shown
        assert row[3] == " ".join(map(str, ours))


def guide_table() -> Iterator[list[str]]:
    """Rows of four columns of the guide's table of ids, the model's name in each."""
    model = ""
    for line in (Path(__file__).parents[3] / "infra/guides/tokenizers.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| "):
            row = [cell.strip() for cell in line.strip("|").split("|")]
            model = row[0] or model
            yield [model, *row[1:]]


def test_ids_are_those_of_sentencepiece_plus_one(converted: Path, model: bytes, texts: list[str], vocabulary: RealVocabulary) -> None:
    """<unk> is 3 here and 0 there; <s> and </s> surround a text. Of several ways to cut a text that score the same, such as in a row of dashes, it may choose
    another; and it composes a letter that has several accents."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    plain = [text for text in texts if not any(token in text for token in SPECIAL)]
    theirs = [[0, *(index + 1 if index else 3 for index in ids), 2] for ids in processor.encode(plain)]
    differing = [(text, one, other) for text, one, other in zip(plain, our_ids(converted, plain), theirs, strict=True) if one != other]
    assert len(differing) < 10
    for text, one, other in differing:
        scores = [float(vocabulary.scores[ids].sum()) for ids in (one, other)]
        assert ACCENTS in text or scores[0] == pytest.approx(scores[1], rel=1e-6), text


def test_the_table_of_characters(vocabulary: RealVocabulary, model: bytes) -> None:
    """SentencePiece's own normalisation is the real one in every character that this one changes, but for one that came after."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    differing = {char for char, to in vocabulary.characters.items() if normalize(processor, f"x{char}x") != f"▁x{to.replace(' ', '▁')}x"}
    assert len(vocabulary.characters) > 4800 and differing == {JOINER}
