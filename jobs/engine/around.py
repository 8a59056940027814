"""What engines that stand around another one have in common: whatever they do not do by themselves, it does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import pyarrow as pa

from embermill.jobs.engine import Embedded, Engine, Output

Inner = TypeVar("Inner", bound=Engine)


class AroundEngine(ABC, Generic[Inner]):
    """engine: what fingerprint, outputs, and attributes that are not here come from. A subclass says what becomes of texts."""

    answers_promptly = False

    def __init__(self, engine: Inner) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def fingerprint(self) -> dict[str, str]:
        return self._engine.fingerprint()

    def outputs(self) -> tuple[Output, ...]:
        return self._engine.outputs()

    @abstractmethod
    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        """As Engine.embed."""
