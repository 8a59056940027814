"""Three kinds of tokenizer as measures, small and trained here: WordPiece, Unigram over Metaspace, byte-level BPE; each with special tokens and a prompt."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from embermill.jobs.chunking.measure import Measure

PROMPT = "passage: "
KINDS = ("wordpiece", "unigram", "bytes")
TEACHER = [
    "The quick brown fox jumps over the lazy dog. Does it? It does! passage: of text, in words; (with brackets).",
    "def read(self, name: str) -> bytes:\n    return self.files[name].read()  # and so on\n\n\n# Heading\n\nThe content of a paragraph.",
    "日本語の文章です。漢字とかな。 ภาษาไทย ไม่มีช่องว่าง é ü ñ 👩‍👩‍👧 abcdefghijklmnopqrstuvwxyz 0123456789 aaaa aaaaaaaa",
]


def _wordpiece() -> Tokenizer:
    letters = sorted({letter for text in TEACHER for letter in text.lower() if letter > " "})
    words = sorted({word for text in TEACHER for word in text.lower().split(" ") if word.isalpha()})
    vocabulary = {token: number for number, token in enumerate(["[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), *words])}
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(TEACHER, trainers.UnigramTrainer(vocab_size=180, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def _bytes() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(TEACHER, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    return tokenizer


_MAKERS: dict[str, Callable[[], Tokenizer]] = {"wordpiece": _wordpiece, "unigram": _unigram, "bytes": _bytes}


@cache
def tokenizer_of(kind: str) -> Tokenizer:
    return _MAKERS[kind]()


def measure_of(kind: str, prompt: str = PROMPT, adds_up: bool = True) -> Measure:
    tokenizer = tokenizer_of(kind)
    unknown = tokenizer.token_to_id("[UNK]") if kind == "wordpiece" else None

    def count(texts: object) -> np.ndarray:
        assert isinstance(texts, list)
        return np.array([len(encoding) for encoding in tokenizer.encode_batch([prompt + text for text in texts])], np.int64)

    def unknown_words(text: str) -> list[tuple[int, int]]:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        return [offsets for token, offsets in zip(encoding.ids, encoding.offsets, strict=True) if token == unknown]

    return Measure(count, unknown_words, kind == "wordpiece" and adds_up)
