"""`usearch:PATH`: an HNSW index of USearch, by keys of 63 bits; PATH.rows.parquet says which id and columns each has.

Options: metric, threads (1): how many add to the graph at once. More are faster and lose rows: where two are added at the same time, USearch (2.26 and
before) may leave one of them without a link to it, so that no search reaches it (github.com/unum-cloud/USearch/issues/735). Columns of float16, int8 and bits
are kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from usearch.index import Index, MetricKind, ScalarKind

from embermill.jobs.errors import UsageError
from embermill.jobs.index import COSINE, DOT, FLOAT16, FLOAT32, INT8, L2, UBINARY, Address, Layout
from embermill.jobs.index.file_target import FileTarget

METRICS = {COSINE: MetricKind.Cos, DOT: MetricKind.IP, L2: MetricKind.L2sq}
SCALARS = {FLOAT32: ScalarKind.F32, FLOAT16: ScalarKind.F16, INT8: ScalarKind.I8, UBINARY: ScalarKind.B1}


class UsearchTarget(FileTarget):
    limits = "usearch"
    dtypes = (FLOAT32, FLOAT16, INT8, UBINARY)
    options = ("threads",)

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        threads = address.options.get("threads", "1")
        if not threads.isdecimal() or not int(threads):
            raise UsageError(f"target {address.shown}: threads={threads}: expected a whole number, 1 or more")
        self._threads = int(threads)

    def make_index(self, layout: Layout) -> Any:
        metric = MetricKind.Hamming if layout.vector.dtype == UBINARY else METRICS[layout.metric]
        return Index(ndim=layout.vector.dimensions, metric=metric, dtype=SCALARS[layout.vector.dtype], multi=False)

    def read_index(self, path: Path) -> Any:
        return Index.restore(str(path))

    def write_index(self, index: Any, path: Path) -> None:
        index.save(str(path))

    def shape(self, index: Any) -> tuple[int, int, str | None]:
        return len(index), index.ndim, {kind: name for name, kind in METRICS.items()}.get(index.metric_kind)

    def add(self, index: Any, keys: np.ndarray, vectors: np.ndarray) -> None:
        index.add(keys, np.ascontiguousarray(vectors), threads=self._threads)

    def remove(self, index: Any, keys: np.ndarray) -> None:
        there = index.contains(keys)
        if there.any():
            index.remove(keys[there])

    def get(self, index: Any, keys: np.ndarray) -> np.ndarray:
        found = index.get(keys) if len(keys) else np.empty((0, index.ndim))
        return np.asarray(found).reshape(len(keys), -1)

    def nearest(self, index: Any, vectors: np.ndarray, k: int) -> Iterable[np.ndarray]:
        return [index.search(vector, k).keys for vector in vectors]
