"""An engine whose vectors have numbers on both sides of zero, as a model's have."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from embermill.jobs.engine import Output, Shortening
from embermill.jobs.errors import EngineError
from tests.jobs.sync.corpus import TellingEngine

DIM = 16


def vector(text: str) -> np.ndarray:
    """[DIM] float32 of unit length, from the text's hash."""
    raw = np.frombuffer(hashlib.sha512(text.encode()).digest(), np.uint32).astype(np.float32) - np.float32(2**31)
    return raw / np.linalg.norm(raw)


class SpreadEngine(TellingEngine):
    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        super().__init__(model, device=device, threads=threads)
        self.shortening: Shortening | None = Shortening(DIM, (8,))

    def fingerprint(self) -> dict[str, str]:
        return super().fingerprint() | {"model.normalize": "true"}

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", DIM),)

    def encode(self, text: str) -> np.ndarray:
        return vector(text)


class PoisonedEngine(SpreadEngine):
    """Fails on the text "poison"."""

    def encode(self, text: str) -> np.ndarray:
        if text == "poison":
            raise RuntimeError("this text is poison")
        return vector(text)


class BrokenEngine(SpreadEngine):
    def encode(self, text: str) -> np.ndarray:
        raise EngineError("the engine is broken")


class OddEngine(SpreadEngine):
    """Of twelve dimensions, and it does not say whether it was trained to be cut."""

    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        super().__init__(model, device=device, threads=threads)
        self.shortening = None

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", 12),)

    def encode(self, text: str) -> np.ndarray:
        return vector(text)[:12]
