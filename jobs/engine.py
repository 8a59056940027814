"""The Engine protocol: how the job sees a model. The job does not know BERT.

`native` is ours; `python:module:Class` loads any other: `Class(model: ModelConfig, *, device: str, threads: int)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Output:
    """One column that an engine makes. kind: "dense". dtype: "float32". dim: columns of the vector."""

    column: str
    kind: str
    dtype: str
    dim: int


@dataclass(frozen=True)
class Embedded:
    """What an engine made of one batch of texts, in the same order.

    columns: output column -> [B, dim]. num_tokens, num_tokens_dropped: [B] int32 (ids fed to the model; text tokens cut off).
    """

    columns: dict[str, np.ndarray]
    num_tokens: np.ndarray
    num_tokens_dropped: np.ndarray


class Engine(Protocol):
    def fingerprint(self) -> dict[str, str]:
        """What changes the vectors: configuration key ("model.max_tokens") or digest ("model.weights") -> value."""
        ...

    def outputs(self) -> tuple[Output, ...]: ...

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        """Same batches, same order. A stream goes in and comes out, so that an engine overlaps its stages across batches as it likes."""
        ...
