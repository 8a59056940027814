"""Small engines whose vectors follow from the text alone: a token is a word."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.jobs.engine import Embedded, Output
from embermill.jobs.worker.isolation import SOUND

DIM = 8


def vector(text: str) -> np.ndarray:
    """[DIM] float32 of unit length, from the text's hash."""
    raw = np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint32).astype(np.float32)
    return raw / np.linalg.norm(raw)


class WordEngine:
    """Keeps the first `model.max_tokens` words of a text."""

    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        self.limit = model.max_tokens or 1 << 30

    def fingerprint(self) -> dict[str, str]:
        return {"model.engine": type(self).__name__, "model.max_tokens": str(self.limit)}

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", DIM),)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            words = [text.split() for text in batch.to_pylist()]
            kept = np.array([min(len(each), self.limit) for each in words], np.int32)
            dropped = np.array([len(each) for each in words], np.int32) - kept
            vectors = [self.encode(" ".join(each[: self.limit])) for each in words]
            yield Embedded({"embedding": np.array(vectors, np.float32).reshape(len(vectors), -1)}, kept, dropped)

    def encode(self, text: str) -> np.ndarray:
        return vector(text)


class PoisonEngine(WordEngine):
    """Fails on a text that says "poison", unless EMBERMILL_TEST_CURED is set."""

    def encode(self, text: str) -> np.ndarray:
        if "poison" in text and "EMBERMILL_TEST_CURED" not in os.environ:
            raise RuntimeError("this text is poison")
        return vector(text)


class SickEngine(PoisonEngine):
    """The same, but it looks broken while it does: a partition with such a text fails as a whole, and is given up."""

    def encode(self, text: str) -> np.ndarray:
        return super().encode("poison" if text == SOUND else text)


class BrokenEngine(WordEngine):
    """Fails on every text."""

    def encode(self, text: str) -> np.ndarray:
        raise RuntimeError("the device is on fire")


class FastWordEngine(WordEngine):
    """Has a fast tokenizer, which gives other tokens (and so another vector) to the texts in `planted`."""

    planted: frozenset[str] = frozenset()
    fast_tokenizer_name = "fast 1.0"

    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        super().__init__(model, device=device, threads=threads)
        self._exactly = True

    @property
    def tokenizer_name(self) -> str:
        return "exact 2.0" if self._exactly else self.fast_tokenizer_name

    def tokenize_exactly(self, exactly: bool) -> None:
        self._exactly = exactly

    def differing_texts(self, texts: Sequence[str]) -> list[int]:
        return [place for place, text in enumerate(texts) if text in self.planted]

    def encode(self, text: str) -> np.ndarray:
        return vector(text if self._exactly or text not in self.planted else f"{text} otherwise")
