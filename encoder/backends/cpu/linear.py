"""A planned product of the CPU backend: one BLAS call, then bias and activation over blocks that stay in a core's cache."""

from __future__ import annotations

import numpy as np

from embermill.encoder.backends.cpu.activations import activation_named
from embermill.encoder.backends.cpu.row_block import layouts_agree
from embermill.encoder.backends.cpu.workspace import Workspace

BLOCK_BYTES = 110_000
"""Bytes that one NumPy call works on: two or three such blocks fit in the L2 cache, and the call itself (0.7 us) costs little beside them."""


class NumpyLinear:
    """activation(x @ weight.T + bias) + residual. weight: [N, K] as the file stores it, [out, in] or a view of [in, out]; never copied if it can be used."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None, workspace: Workspace) -> None:
        self.weight = _as_it_lies(weight).T  # [K, N]; a copy would cost more than loading all else
        self.workspace = workspace
        self.activate = activation_named(activation)
        self.block_rows = max(1, BLOCK_BYTES // (4 * self.weight.shape[1]))
        self.bias = None if bias is None else np.tile(np.asarray(bias, np.float32), (self.block_rows, 1))  # added as one flat array: half the time

    def __call__(self, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
        """x: [T, K] to a new array [T, N]."""
        y = np.empty((len(x), self.weight.shape[1]), np.float32)
        self.into(y, x)
        if residual is not None:
            y += residual
        return y

    def into(self, y: np.ndarray, x: np.ndarray) -> None:
        """The same into y [T, N]; any rows will do where there is neither bias nor activation, else C-contiguous ones."""
        np.matmul(x, self.weight, out=y)
        if self.bias is not None or self.activate is not None:
            self._finish(y)

    def _finish(self, y: np.ndarray) -> None:
        """activation(y + bias) in place."""
        with np.errstate(over="ignore"):  # a GELU far out divides by infinity, and means it
            for first in range(0, len(y), self.block_rows):
                block = y[first : first + self.block_rows]
                if self.bias is not None:
                    block += self.bias[: len(block)]
                if self.activate is not None:
                    self.activate(block, self.workspace)


class NumpyGatedLinear:
    """activation(x @ gate.T + gate_bias) * (x @ up.T + up_bias)."""

    def __init__(
        self, gate: np.ndarray, up: np.ndarray, gate_bias: np.ndarray | None, up_bias: np.ndarray | None, activation: str | None, workspace: Workspace
    ) -> None:
        self.gate, self.up = NumpyLinear(gate, gate_bias, activation, workspace), NumpyLinear(up, up_bias, None, workspace)
        self.products, self.workspace, self.columns = (self.gate, self.up), workspace, self.gate.weight.shape[1]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x: [T, K] to a new array [T, F]."""
        y = np.empty((len(x), self.columns), np.float32)
        self.into(y, x)
        return y

    def into(self, y: np.ndarray, x: np.ndarray) -> None:
        """The same into y [T, F], C-contiguous."""
        self.gate.into(y, x)
        factor = self.workspace.array("gated factor", *y.shape)
        self.up.into(factor, x)
        y *= factor


def _as_it_lies(weight: np.ndarray) -> np.ndarray:
    """[N, K] in the layout in which the file stores it; copied only where the BLAS could not take it, or would give a view of [K, N] other bits."""
    weight = np.asarray(weight, np.float32)
    if weight.flags.aligned and (weight.flags.c_contiguous or (weight.flags.f_contiguous and layouts_agree(weight.shape[::-1]))):
        return weight
    return np.ascontiguousarray(weight)
