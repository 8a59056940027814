"""Makes what stands beside it: small tokenizers of each family, trained here, and the token ids that transformers gives for every folder of them.

    .venv-reference/bin/python -m tests.golden.tokenizers.make          # ids.json, from the tokenizers that are there
    .venv-reference/bin/python -m tests.golden.tokenizers.make train    # the tokenizers first, again

Needs the reference environment (`make test-reference` makes it). Tests read both without it: tests/encoder/text/test_golden_ids.py.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from tests.encoder.text.tokenizer_folders import CASES, GOLDEN, LANGUAGES, TEXTS, write_case

VOCABULARY = 700  # tokens


def main() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if sys.argv[1:] == ["train"]:
        train()
    from transformers import AutoTokenizer

    answers: list[list[list[int]]] = [[] for _ in TEXTS]  # of each text, the different ones
    cases: dict[str, list[int] | None] = {}  # of each case, which of them it gives for each text
    with tempfile.TemporaryDirectory() as temporary:
        for number, (name, case) in enumerate(CASES.items()):
            folder = write_case(Path(temporary) / str(number), case)
            ids = AutoTokenizer.from_pretrained(str(folder))(TEXTS)["input_ids"]
            cases[name] = [_index(known, row) for known, row in zip(answers, ids, strict=True)]
    versions = {package: importlib.metadata.version(package) for package in ("transformers", "tokenizers")}
    rows = ",\n".join(json.dumps(known, separators=(",", ":")) for known in answers)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}" for name, row in cases.items())
    (GOLDEN / "ids.json").write_text(f'{{"made with": {json.dumps(versions)},\n"answers": [\n{rows}\n],\n"cases": {{\n{lines}\n}}}}\n', encoding="utf-8")


def _index(known: list[list[int]], row: list[int]) -> int:
    if row not in known:
        known.append(row)
    return known.index(row)


def corpus() -> list[str]:
    """Docstrings of the standard library, and lines in other scripts, cased and accented."""
    docstrings: list[str] = []
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:60]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings += [text for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node))]
    return [*docstrings, *(LANGUAGES * 40)]


def train() -> None:
    word_pieces("bert", ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]", "[unused2]"])
    word_pieces("mpnet", ["<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"])
    byte_pairs("roberta", ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], normalizer=None)
    byte_pairs("modernbert", ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], normalizer="NFC")
    sentence_piece()


def word_pieces(name: str, special: list[str]) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special, limit_alphabet=250, show_progress=False))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    first, last = ("[CLS]", "[SEP]") if "[CLS]" in special else ("<s>", "</s>")
    ends = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", pair=f"{first} $A {last} $B:1 {last}:1", special_tokens=ends)
    save(tokenizer, name)


def byte_pairs(name: str, special: list[str], normalizer: str | None) -> None:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    if normalizer:
        tokenizer.normalizer = getattr(normalizers, normalizer)()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False))
    ids = {token: tokenizer.token_to_id(token) for token in special}
    if "<s>" in special:
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", ids["</s>"]), ("<s>", ids["<s>"]), add_prefix_space=False)
    else:
        ends = [("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
        tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends)
    save(tokenizer, name)


def sentence_piece() -> None:
    """A Unigram of SentencePiece's own making, and the tokenizer.json that transformers makes of it for XLM-RoBERTa."""
    import sentencepiece
    from transformers import AutoTokenizer

    folder = GOLDEN / "xlm-roberta"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        rules = Path(temporary) / "rules.tsv"  # a small table: the standard one is 240 kB
        rules.write_text("".join(f"{source}\t{target}\n" for source, target in RULES), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([" ".join(text.split()) for text in corpus()]),
            model_prefix=str(Path(temporary) / "spm"),
            vocab_size=VOCABULARY,
            normalization_rule_tsv=str(rules),
            bos_id=1, eos_id=2, unk_id=0, minloglevel=2,
        )  # fmt: skip
        (folder / "sentencepiece.bpe.model").write_bytes((Path(temporary) / "spm.model").read_bytes())
        converted = Path(temporary) / "converted"
        converted.mkdir()
        (converted / "sentencepiece.bpe.model").write_bytes((folder / "sentencepiece.bpe.model").read_bytes())
        (converted / "config.json").write_text('{"model_type": "xlm-roberta"}')
        AutoTokenizer.from_pretrained(str(converted)).save_pretrained(str(converted))
        (folder / "tokenizer.json").write_bytes((converted / "tokenizer.json").read_bytes())


# Code points in hexadecimal: full-width letters, a ligature, an ellipsis, a no-break space, line ends and tabs, e and a combining acute.
RULES = [("FF21", "41"), ("FF42", "62"), ("FB01", "66 69"), ("2026", "2E 2E 2E"), ("A0", "20"), ("9", "20"), ("A", "20"), ("D", "20"), ("65 301", "E9")]


def save(tokenizer: object, name: str) -> None:
    (GOLDEN / name).mkdir(exist_ok=True)
    tokenizer.save(str(GOLDEN / name / "tokenizer.json"), pretty=False)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
