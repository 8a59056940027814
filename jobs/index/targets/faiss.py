"""`faiss:PATH`: a flat index of FAISS (exact), by keys of 63 bits; PATH.rows.parquet says which id and columns each has.

Options: metric (cosine keeps vectors of length 1; dot, l2). A column of bits goes into a binary index.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from embermill.jobs.index import COSINE, FLOAT32, L2, UBINARY, Address, Layout
from embermill.jobs.index.file_target import FileTarget

OURS = (faiss.IndexIDMap2, faiss.IndexBinaryIDMap2)
UNIT = 1e-5  # how far from 1 a length may be and counts as 1: the vector is kept as it is


class FaissTarget(FileTarget):
    limits = "faiss"
    dtypes = (FLOAT32, UBINARY)
    normalizes = True

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._added: list[np.ndarray] = []  # keys of vectors that the flat index has, and the one around it does not know of

    def make_index(self, layout: Layout) -> Any:
        dimensions = layout.vector.dimensions
        if layout.vector.dtype == UBINARY:
            return faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(dimensions))
        return faiss.IndexIDMap2(faiss.IndexFlatL2(dimensions) if layout.metric == L2 else faiss.IndexFlatIP(dimensions))

    def read_index(self, path: Path) -> Any:
        try:
            return faiss.read_index(str(path))
        except RuntimeError:
            return faiss.read_index_binary(str(path))

    def write_index(self, index: Any, path: Path) -> None:
        (faiss.write_index_binary if self._is_binary(index) else faiss.write_index)(self._settled(index), str(path))

    def shape(self, index: Any) -> tuple[int, int, str | None]:
        l2 = not self._is_binary(index) and index.metric_type == faiss.METRIC_L2
        return index.ntotal + sum(map(len, self._added)), index.d, L2 if l2 else None

    def add(self, index: Any, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Into an index of ours without `add_with_ids`, which enters each key in a table for `reconstruct` too, that is in no file: a twentieth of a load."""
        if not isinstance(index, OURS):
            index.add_with_ids(self._normalized(vectors), keys.astype(np.int64))
            return
        index.index.add(self._normalized(vectors))
        self._added.append(keys.astype(np.int64))

    def expect(self, rows: int) -> None:
        """Room for all vectors at once: a list of bytes that doubles is copied each time, and takes up to three times their memory while it is."""
        index = self._index
        if not isinstance(index, OURS):
            return
        binary = self._is_binary(index)
        codes = faiss.downcast_IndexBinary(index.index).xb if binary else faiss.downcast_index(index.index).codes
        held = codes.size()
        codes.resize(max(held, rows * (index.d // 8 if binary else index.d * 4)))
        codes.resize(held)

    def remove(self, index: Any, keys: np.ndarray) -> None:
        if self._settled(index).ntotal:
            index.remove_ids(keys.astype(np.int64))

    def get(self, index: Any, keys: np.ndarray) -> np.ndarray:
        if not len(keys):
            return np.empty((0, index.d // 8 if self._is_binary(index) else index.d), np.uint8 if self._is_binary(index) else np.float32)
        if not isinstance(index, OURS):
            return np.stack([index.reconstruct(int(key)) for key in keys])
        known = faiss.vector_to_array(self._settled(index).id_map)
        places = np.flatnonzero(np.isin(known, keys.astype(np.int64)))
        by_key = dict(zip(known[places].tolist(), places.tolist(), strict=True))
        return np.stack([index.index.reconstruct(by_key[key]) for key in keys.tolist()])

    def nearest(self, index: Any, vectors: np.ndarray, k: int) -> Iterable[np.ndarray]:
        _, found = self._settled(index).search(self._normalized(vectors), k)
        return [keys[keys >= 0] for keys in found]

    def _settled(self, index: Any) -> Any:
        """The same index, once it knows every key."""
        if self._added:
            faiss.copy_array_to_vector(np.concatenate([faiss.vector_to_array(index.id_map), *self._added]), index.id_map)
            index.ntotal, self._added = index.index.ntotal, []
        return index

    def _normalized(self, vectors: np.ndarray) -> np.ndarray:
        if self._known.metric != COSINE or vectors.dtype != np.float32:
            return np.ascontiguousarray(vectors)
        lengths = np.sqrt(np.einsum("ne,ne->n", vectors, vectors))
        other = np.abs(lengths - 1) > UNIT
        if other.any():
            vectors = vectors.copy()
            vectors[other] /= np.maximum(lengths[other], 1e-12)[:, None]
        return np.ascontiguousarray(vectors)

    @staticmethod
    def _is_binary(index: Any) -> bool:
        return isinstance(index, faiss.IndexBinary)
