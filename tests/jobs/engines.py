"""Small engines and rows for tests of the job's machinery; a text's vector is its length and its first byte."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.engine import Embedded, Output
from embermill.jobs.worker.isolation import SOUND

DIM = 4


def embed_texts(texts: pa.Array) -> Embedded:
    """Vectors that follow from each text alone; a token is a byte, at most 100 are kept."""
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int32)
    first = np.array([ord(text[:1] or "\0") % 256 for text in texts.to_pylist()], np.float32)
    vectors = np.stack([lengths.astype(np.float32), first, lengths % 7, np.ones(len(lengths))], axis=1).astype(np.float32)
    return Embedded({"embedding": vectors}, np.minimum(lengths, 100), np.maximum(lengths - 100, 0))


class PlainEngine:
    """One batch in, one batch out."""

    def __init__(self, model: Any = None, *, device: str = "cpu", threads: int = 1) -> None:
        self.batches: list[int] = []

    def fingerprint(self) -> dict[str, str]:
        return {"model.engine": "plain", "model.weights": "0" * 8}

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", DIM),)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            self.batches.append(len(batch))
            yield self.answer(batch)

    def answer(self, texts: pa.Array) -> Embedded:
        return embed_texts(texts)


class LookingAheadEngine(PlainEngine):
    """Holds three batches back before it answers the first, as one does that sorts by length across batches."""

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        held: deque[pa.Array] = deque()
        for batch in texts:
            held.append(batch)
            if len(held) > 3:
                yield self.answer(held.popleft())
        while held:
            yield self.answer(held.popleft())


class PoisonedEngine(LookingAheadEngine):
    """Raises on the text "poison"."""

    def answer(self, texts: pa.Array) -> Embedded:
        if "poison" in texts.to_pylist():
            raise RuntimeError("poison")
        return embed_texts(texts)


class SickEngine(PoisonedEngine):
    """The same, but it looks broken while it does: a partition with such a text fails as a whole."""

    def answer(self, texts: pa.Array) -> Embedded:
        return super().answer(pa.array(["poison"]) if texts.to_pylist() == [SOUND] else texts)


class PromptEngine(PoisonedEngine):
    """One batch in, one batch out, which it may say: its streams stay open."""

    answers_promptly = True

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        yield from map(self.answer, texts)


class SlowEngine(PlainEngine):
    """A few milliseconds a text, so that there is time to kill it."""

    def answer(self, texts: pa.Array) -> Embedded:
        time.sleep(0.004 * len(texts))
        return embed_texts(texts)


class DyingEngine(PlainEngine):
    """Takes its process with it on the text "kill"."""

    def answer(self, texts: pa.Array) -> Embedded:
        if "kill" in texts.to_pylist():
            os._exit(9)
        return embed_texts(texts)


class LimitedEngine(PlainEngine):
    """Says what it would be without being made."""

    def __init__(self, model: Any, *, device: str = "cpu", threads: int = 1) -> None:
        super().__init__(model)
        self._fingerprint = self.describe(model)

    @classmethod
    def describe(cls, model: Any) -> dict[str, str]:
        return {"model.engine": "limited", "model.max_tokens": str(model.max_tokens)}

    def fingerprint(self) -> dict[str, str]:
        return self._fingerprint


class InterruptingEngine(PlainEngine):
    """Interrupts its own process, as Ctrl-C does, after so many batches. Its weights depend on model.dimensions, which it cannot tell beforehand."""

    after: int | None = None

    def __init__(self, model: Any, *, device: str = "cpu", threads: int = 1) -> None:
        super().__init__(model)
        self._weights = "0" * 8 if model.dimensions is None else "1" * 8

    def fingerprint(self) -> dict[str, str]:
        return {"model.weights": self._weights}

    def answer(self, texts: pa.Array) -> Embedded:
        if InterruptingEngine.after is not None:
            InterruptingEngine.after -= 1
            if not InterruptingEngine.after:
                InterruptingEngine.after = None
                signal.raise_signal(signal.SIGINT)
        return embed_texts(texts)


class BrokenEngine(PlainEngine):
    def __init__(self, model: Any, *, device: str = "cpu", threads: int = 1) -> None:
        raise ValueError("broken")
