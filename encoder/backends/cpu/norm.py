"""LayerNorm of the CPU backend: every row by itself, over blocks of rows that stay in a core's cache."""

from __future__ import annotations

import numpy as np

BLOCK_BYTES = 150_000


class NumpyLayerNorm:
    """LayerNorm(x + bias + residual). bias: that of the product before it, which is cheaper to add here."""

    def __init__(self, gamma: np.ndarray, beta: np.ndarray | None, eps: float, bias: np.ndarray | None = None) -> None:
        self.gamma, self.beta = np.asarray(gamma, np.float32), None if beta is None else np.asarray(beta, np.float32)
        self.bias = None if bias is None else np.asarray(bias, np.float32)
        size = len(self.gamma)
        self.share = np.full(size, 1 / size, np.float32)
        self.sum_eps, self.root_size = np.float32(eps * size), np.float32(size**0.5)
        self.block_rows = max(1, BLOCK_BYTES // (4 * size))

    def __call__(self, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
        """x, residual: [T, E] to a new array [T, E]."""
        y = np.empty_like(x)
        self.into(y, x, residual)
        return y

    def into(self, y: np.ndarray, x: np.ndarray, residual: np.ndarray | None) -> None:
        """The same into y [T, E], which may be x."""
        for first in range(0, len(x), self.block_rows):
            rows = slice(first, first + self.block_rows)
            self._block(y[rows], x[rows], None if residual is None else residual[rows])

    def _block(self, y: np.ndarray, x: np.ndarray, residual: np.ndarray | None) -> None:
        if residual is None:
            np.copyto(y, x)
        else:
            np.add(x, residual, out=y)
        if self.bias is not None:
            y += self.bias
        y -= np.vecdot(y, self.share)[:, None]
        spread = np.vecdot(y, y)
        spread += self.sum_eps
        np.sqrt(spread, out=spread)
        np.divide(self.root_size, spread, out=spread)
        y *= spread[:, None]
        y *= self.gamma
        if self.beta is not None:
            y += self.beta
