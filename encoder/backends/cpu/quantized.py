"""Products in 8 and 16 bits by NumPy: what runs where there are no compiled functions for them. The numbers are the same, the speed is float32's at best.

int8: the products are whole numbers below 2^24, which a float32 product adds up exactly, whatever its order. bfloat16: rows and weights are rounded, and
multiplied in float32.
"""

from __future__ import annotations

import numpy as np

from embermill.encoder.backends.cpu.linear import NumpyLinear
from embermill.encoder.backends.cpu.quantization import EXACT, LEVELS, quantize_rows, quantize_weight, round_to_bfloat16, widen_bfloat16
from embermill.encoder.backends.cpu.workspace import Workspace


class QuantizedLinear(NumpyLinear):
    """int8. A row's bits do not depend on the other rows, for the sums are exact."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None, workspace: Workspace) -> None:
        quantized, scale = quantize_weight(np.asarray(weight, np.float32))
        super().__init__(quantized.astype(np.float32), bias, activation, workspace)
        self.scale, self.sums = scale, quantized.sum(axis=1, dtype=np.int32) * scale
        largest = int(np.abs(quantized).sum(axis=1, dtype=np.int64).max(initial=1)) * LEVELS
        parts = -(-largest // EXACT)
        self.cuts = [len(part) for part in np.array_split(np.empty(self.weight.shape[0]), parts)] if parts > 1 else [self.weight.shape[0]]

    def into(self, y: np.ndarray, x: np.ndarray) -> None:
        quantized, step, low = quantize_rows(x)
        np.matmul(quantized[:, : self.cuts[0]], self.weight[: self.cuts[0]], out=y)
        if len(self.cuts) > 1:
            self._add_the_others(y, quantized)
        y *= step
        y *= self.scale
        y += low * self.sums
        if self.bias is not None or self.activate is not None:
            self._finish(y)

    def _add_the_others(self, y: np.ndarray, quantized: np.ndarray) -> None:
        """Sums that float32 might not hold exactly: in parts, added as whole numbers."""
        total, first = y.astype(np.int64), self.cuts[0]
        for length in self.cuts[1:]:
            rows = slice(first, first + length)
            total += (quantized[:, rows] @ self.weight[rows]).astype(np.int64)
            first += length
        y[...] = total


class RoundedLinear(NumpyLinear):
    """bfloat16."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None, workspace: Workspace) -> None:
        super().__init__(widen_bfloat16(round_to_bfloat16(weight)), bias, activation, workspace)

    def into(self, y: np.ndarray, x: np.ndarray) -> None:
        super().into(y, widen_bfloat16(round_to_bfloat16(x)))
