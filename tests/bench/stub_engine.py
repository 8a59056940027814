"""An engine that costs nothing, so that what remains is the job: `model.engine: python:tests.bench.stub_engine:StubEngine`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.engine import Embedded, Output

DIM = 8


class StubEngine:
    """Eight floats from a text's length and first byte: the same text gives the same vector, wherever it stands."""

    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        self.name = "stub"

    def fingerprint(self) -> dict[str, str]:
        return {"model.engine": "python:tests.bench.stub_engine:StubEngine", "model.dimensions": str(DIM)}

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", DIM),)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        powers = np.arange(1, DIM + 1, dtype=np.float32)
        for batch in texts:
            lengths = pc.binary_length(batch).to_numpy(zero_copy_only=False).astype(np.int32)
            vectors = (lengths[:, None] + 1).astype(np.float32) / powers
            yield Embedded({"embedding": vectors}, lengths // 4 + 2, np.zeros(len(lengths), np.int32))
