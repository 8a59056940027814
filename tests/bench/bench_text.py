"""How fast texts become token ids on all cores: `tokenizers` beside what may stand in front of it, with the same ids or not at all.

    python -m tests.bench.bench_text [--seconds 20] [--word-piece FILE] [--unigram FILE] [--bpe FILE] [--texts 200000]

One JSON line for each kind of tokenizer and way: million tokens/s of a second pass over the texts and of the first (cold caches), and how many texts got
other ids than `tokenizers` gives. Ways: WordPiece by nanotoken, byte-BPE by gigatoken, Unigram by a cache of words in front of `tokenizers`. A FILE is a
tokenizer.json; without one a vocabulary of 30,000 is trained on the texts, which are docstrings of this Python's packages. Set beside the forward pass
(tests.bench.bench_families_gpu: XLM-R-base 2.9, ModernBERT-base 2.0, MiniLM-L6 16 million tokens/s on one H100), they say which of the two is ahead.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from embermill.encoder.text.fast_word_piece import FastWordPiece, _open
from embermill.encoder.text.whole_rows import Exact, RowTokenizer, WholeRows, differing_rows

BATCH = 1024
VOCABULARY = 30_000


class GigaToken:
    """byte-BPE; special tokens are put around it here."""

    def __init__(self, library: Any) -> None:
        import gigatoken

        self._tokenizer, self.name = gigatoken.Tokenizer.from_json(library.to_str()), "gigatoken"
        self._ends = library.encode("").ids

    def __call__(self, texts: Sequence[str]) -> WholeRows:
        first, last = self._ends[:1], self._ends[1:]
        rows = [first + ids + last for ids in self._tokenizer.encode_batch_list(list(texts))]
        offsets = np.cumsum([0, *map(len, rows)])
        return WholeRows(np.fromiter((token for row in rows for token in row), np.int32, int(offsets[-1])), offsets)


class CachedWords:
    """Unigram whose pre-tokenizer cuts at blanks: each word's ids are those of the word alone, so that each is asked for once."""

    name = "cache of words"
    most = 1 << 20

    def __init__(self, library: Any) -> None:
        self._library, self._words = library, dict[str, list[int]]()
        self._ends = library.encode("").ids

    def __call__(self, texts: Sequence[str]) -> WholeRows:
        normalize = self._library.normalizer.normalize_str if self._library.normalizer else str
        split = [normalize(text).split() for text in texts]
        if new := {word for words in split for word in words} - self._words.keys():
            if len(self._words) > self.most:
                self._words.clear()
                new = {word for words in split for word in words}
            asked = sorted(new)
            for word, encoding in zip(asked, self._library.encode_batch_fast(asked, add_special_tokens=False), strict=True):
                self._words[word] = encoding.ids
        known, (first, last) = self._words, (self._ends[:1], self._ends[1:])
        rows = [first + [token for word in words for token in known[word]] + last for words in split]
        offsets = np.cumsum([0, *map(len, rows)])
        return WholeRows(np.fromiter((token for row in rows for token in row), np.int32, int(offsets[-1])), offsets)


def trained(kind: str, texts: list[str]) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    at_blanks = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    make: dict[str, tuple[Any, Any, Any, Any]] = {
        "WordPiece": (models.WordPiece(unk_token="<unk>"), trainers.WordPieceTrainer, normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()),
        "Unigram": (models.Unigram(), trainers.UnigramTrainer, normalizers.NFKC(), at_blanks),
        "BPE": (models.BPE(), trainers.BpeTrainer, None, pre_tokenizers.ByteLevel(add_prefix_space=False)),
    }  # fmt: skip
    model, trainer, normalizer, pre_tokenizer = make[kind]
    library = Tokenizer(model)
    library.normalizer, library.pre_tokenizer = normalizer, pre_tokenizer
    settings: dict[str, dict[str, Any]] = {"Unigram": {"unk_token": "<unk>"}, "BPE": {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}}
    library.train_from_iterator(texts[:20_000], trainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False, **settings.get(kind, {})))
    library.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=False, add_prefix_space=False)
    return library


def opened(file: str) -> Any:
    from tokenizers import Tokenizer

    library = Tokenizer.from_file(file)
    library.no_truncation()
    library.no_padding()
    return library


def passes(rows_of: RowTokenizer, texts: list[str], seconds: float) -> list[float]:
    """Million tokens/s of each pass over the texts, two at least; more until the time is over."""
    rates: list[float] = []
    begin = time.perf_counter()
    while len(rates) < 2 or time.perf_counter() - begin < seconds:
        tokens, start = 0, time.perf_counter()
        for at in range(0, len(texts), BATCH):
            tokens += len(rows_of(texts[at : at + BATCH]).input_ids)
        rates.append(tokens / (time.perf_counter() - start) / 1e6)
    return rates


def row(kind: str, rows_of: RowTokenizer, exact: Exact, texts: list[str], seconds: float) -> None:
    parts = [texts[at : at + BATCH] for at in range(0, min(len(texts), 50_000), BATCH)]
    other = sum(len(differing_rows(exact(part), rows_of(part))) for part in parts)
    first, *later = passes(rows_of, texts, seconds)
    rates = dict(million_tokens_per_s=round(max(later), 3), first_pass=round(first, 3))
    print(json.dumps(dict(kind=kind, way=rows_of.name, cores=os.cpu_count()) | rates | dict(other_ids=other)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--texts", type=int, default=200_000)
    for kind in ("word-piece", "unigram", "bpe"):
        parser.add_argument(f"--{kind}", metavar="FILE")
    arguments = parser.parse_args()
    from tests.bench.corpus import docstrings

    found = docstrings(os.cpu_count() or 1)
    texts = [found[number % len(found)] + f" {number}" for number in range(arguments.texts)]  # distinct, as a corpus is
    ways: dict[str, tuple[str | None, Callable[[Any], RowTokenizer | str | None]]] = {
        "WordPiece": (arguments.word_piece, _open), "Unigram": (arguments.unigram, CachedWords), "BPE": (arguments.bpe, GigaToken),
    }  # fmt: skip
    for kind, (file, way) in ways.items():
        library = trained(kind, texts) if file is None else opened(file)
        exact = Exact(library)
        row(kind, exact, exact, texts, arguments.seconds)
        try:
            fast = way(library)
        except Exception as error:
            fast = str(error)
        if isinstance(fast, FastWordPiece | GigaToken | CachedWords):
            row(kind, fast, exact, texts, arguments.seconds)
        else:
            print(json.dumps(dict(kind=kind, way=str(way), refused=str(fast))), flush=True)


if __name__ == "__main__":
    main()
