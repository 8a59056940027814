"""An engine that counts words, with a limit, and gives each text a vector of its own: what a chunked job is tested with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.jobs.engine import Embedded, Output, Preview
from tests.jobs.chunking.tokenizers_to_cut_by import measure_of

MAX_WORDS, DIM = 32, 4


def count(texts: Iterable[str]) -> np.ndarray:
    """One of the beginning, and one a word."""
    return np.array([1 + len(text.split()) for text in texts], np.int64)


class ChunkEngine:
    """A text with the word POISON fails."""

    POISON = "POISON"

    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        pass

    @classmethod
    def preview(cls, model: Any, device: str) -> Preview:
        return Preview((Output("embedding", "dense", "float32", DIM),), count, MAX_WORDS)

    def fingerprint(self) -> dict[str, str]:
        return {"model.engine": "ChunkEngine"}

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", DIM),)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            found = batch.to_pylist()
            if any(self.POISON in text for text in found):
                raise ValueError("poisoned")
            digests = [np.frombuffer(hashlib.blake2b(text.encode(), digest_size=DIM).digest(), np.uint8) for text in found]
            counts = count(found)
            yield Embedded(
                {"embedding": np.stack(digests).astype(np.float32)}, np.minimum(counts, MAX_WORDS).astype(np.int32),
                np.maximum(counts - MAX_WORDS, 0).astype(np.int32),
            )  # fmt: skip


class CountingChunkEngine(ChunkEngine):
    """Appends every text that it embeds to the file `embedded-texts`."""

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            (answer,) = super().embed([batch])
            with Path("embedded-texts").open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(text) + "\n" for text in batch.to_pylist())
            yield answer


class CutCounter(ChunkEngine):
    """Its count stops at the limit."""

    @classmethod
    def preview(cls, model: Any, device: str) -> Preview:
        return Preview((), lambda texts: np.minimum(count(texts), MAX_WORDS), MAX_WORDS)


class NoCounter(ChunkEngine):
    @classmethod
    def preview(cls, model: Any, device: str) -> Preview:
        return Preview(max_tokens=MAX_WORDS)


class NoLimit(ChunkEngine):
    @classmethod
    def preview(cls, model: Any, device: str) -> Preview:
        return Preview(count_tokens=count)


class WordPieceEngine(ChunkEngine):
    """Counted by a small WordPiece tokenizer, to which a word of over 100 characters is one unknown token."""

    @classmethod
    def preview(cls, model: Any, device: str) -> Preview:
        measure = measure_of("wordpiece", "")
        return Preview((Output("embedding", "dense", "float32", DIM),), measure.count, 256, unknown_words=measure.unknown_words)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            tokens = measure_of("wordpiece", "").count(batch.to_pylist()).astype(np.int32)
            yield Embedded({"embedding": np.ones((len(batch), DIM), np.float32)}, tokens, np.zeros(len(batch), np.int32))
