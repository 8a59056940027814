"""What positions do to attention on the CPU: queries and keys that are turned, distances that are outside a window, distances that have a bias."""

from __future__ import annotations

import threading

import numpy as np
from numpy.lib.stride_tricks import as_strided

from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.ops.rotary import Rotary

SMALLEST_TABLE = 64
"""Positions; a table holds a power of two of them, so that no value is computed in the remainder of a vector, which may round differently."""
KEPT_DOCUMENTS = 8
"""Tables of as many lengths above the trained positions are kept: there each length has angles of its own."""


class NumpyRotary:
    """Turns queries and keys in place of float32 copies; its tables grow to the longest document seen."""

    def __init__(self, rotary: Rotary, workspace: Workspace) -> None:
        self.rotary, self.workspace = rotary, workspace
        self.trained = Rotary(rotary.inverse_frequencies)  # the angles of documents no longer than the trained positions
        self._table = self.trained.cosines_and_sines(SMALLEST_TABLE)
        self._long: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._lock = threading.Lock()

    def angles(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Cosines and sines [L, D/2] of a document of this length; the same bits whatever came before it."""
        dynamic = self.rotary.dynamic
        if dynamic is not None and length > dynamic.trained_positions:
            return self._angles_of_long(length)
        cosines, sines = self._table
        if len(cosines) < length:
            cosines, sines = self._table = self.trained.cosines_and_sines(1 << (length - 1).bit_length())
        return cosines[:length], sines[:length]

    def _angles_of_long(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            found = self._long.get(length)
            if found is None:
                if len(self._long) >= KEPT_DOCUMENTS:
                    self._long.clear()
                found = self._long[length] = self.rotary.cosines_and_sines(length)
            return found

    def turn(self, x: np.ndarray, out: np.ndarray) -> None:
        """x: [L, H, D] to out [L, H, D], which is not x."""
        half = x.shape[-1] // 2
        cosines, sines = (table[:, None] for table in self.angles(len(x)))
        product = self.workspace.array("rotary product", len(x), x.shape[1], half)
        first, second = x[..., :half], x[..., half:]
        np.multiply(first, cosines, out=out[..., :half])
        np.multiply(second, sines, out=product)
        out[..., :half] -= product
        np.multiply(second, cosines, out=out[..., half:])
        np.multiply(first, sines, out=product)
        out[..., half:] += product


class DistanceBias:
    """A bias [H, 2R+1] by the distance k - q, clipped to R at either end."""

    def __init__(self, bias: np.ndarray) -> None:
        self.bias = np.ascontiguousarray(bias, np.float32)
        self.reach = bias.shape[1] // 2

    def by_distance(self, length: int) -> np.ndarray:
        """[H, 2L-1]: the bias of the distances -(L-1) to L-1."""
        distances = np.arange(1 - length, length)
        return self.bias[:, np.clip(distances, -self.reach, self.reach) + self.reach]


def square(by_distance: np.ndarray, queries: slice, keys: slice) -> np.ndarray:
    """by_distance: [h, 2L-1], C-contiguous. Returns the view [h, queries, keys] in which [q, k] is the value of the distance k - q; nothing is copied."""
    heads, distances = by_distance.shape
    per_head, step = by_distance.strides
    start = by_distance[:, (distances - 1) // 2 + keys.start - queries.start :]
    return as_strided(start, (heads, queries.stop - queries.start, keys.stop - keys.start), (per_head, -step, step), writeable=False)
