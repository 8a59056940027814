"""An engine that answers with the demo's own vectors: real ones, without a model. `model.source` is the demo's dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

import embermill
from embermill.jobs.engine import Embedded, Output
from embermill.jobs.shard.contents import to_matrix
from embermill.jobs.shard.text_hash import hash_texts


class KnownEngine:
    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        table = embermill.open_dataset(model.source).read_all()
        self._vectors = to_matrix(table.column("embedding"))
        self._rows = {text: row for row, text in enumerate(table.column("text_hash").to_pylist())}

    def fingerprint(self) -> dict[str, str]:
        return {"model.engine": "known vectors", "model.normalize": "true"}

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", self._vectors.shape[1]),)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            rows = [self._rows[text] for text in hash_texts(batch).to_pylist()]
            nothing = np.zeros(len(rows), np.int32)
            yield Embedded({"embedding": self._vectors[rows]}, nothing, nothing)
