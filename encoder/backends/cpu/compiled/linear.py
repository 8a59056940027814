"""A planned product in 8, 16 or 32 bits, by a compiled function: quantising, product, bias and activation in one call."""

from __future__ import annotations

import ctypes

import numpy as np

from embermill.encoder.backends.cpu.activations import activation_named
from embermill.encoder.backends.cpu.compiled.library import Product, address, aligned, load_library
from embermill.encoder.backends.cpu.compiled.paths import Path
from embermill.encoder.backends.cpu.quantization import quantize_weight, round_to_bfloat16
from embermill.encoder.backends.cpu.workspace import Workspace

ACTIVATION_NUMBERS = {None: 0, "gelu": 1, "gelu_new": 2, "relu": 3, "silu": 4, "tanh": 5}
LINE_BYTES, PANEL_OUTPUTS, ROWS_AT_A_TIME = 64, 16, 192


class CompiledLinear:
    """activation(x @ weight.T + bias). weight: [N, K] float32 in any layout, packed here. A row's bits do not depend on the other rows."""

    def __init__(self, path: Path, weight: np.ndarray, bias: np.ndarray | None, activation: str | None, workspace: Workspace) -> None:
        activation_named(activation)  # refuses what there is not
        library = load_library()
        assert library is not None, "a path is chosen where its functions are"
        self._run, self._workspace = getattr(library, f"{path.name}_product"), workspace
        self.outputs, self.columns = weight.shape
        self._weight, scale, sums = PACKINGS[path.precision](weight)
        self._vectors = [_padded(vector, self.outputs) for vector in (scale, sums, np.zeros(self.outputs) if bias is None else bias)]
        lines = self._weight.shape[1] // PANEL_OUTPUTS
        quantized = 0 if path.precision == "float32" else ROWS_AT_A_TIME * (lines * LINE_BYTES + 8) // 4
        self._scratch_floats = quantized + LINE_BYTES // 4
        places = [address(array) for array in (self._weight, *self._vectors)]
        self._product = Product(*places, self.columns, lines, self.outputs, ACTIVATION_NUMBERS[activation])

    def __call__(self, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray:
        """x: [T, K] to a new array [T, N]."""
        y = np.empty((len(x), self.outputs), np.float32)
        self.into(y, x)
        if residual is not None:
            y += residual
        return y

    def into(self, y: np.ndarray, x: np.ndarray) -> None:
        """The same into y [T, N]; the columns of both lie side by side."""
        assert x.shape == (len(y), self.columns) and x.dtype == y.dtype == np.float32 and x.strides[1] == y.strides[1] == 4
        scratch = self._workspace.array("quantized", self._scratch_floats)
        pitches = (ctypes.c_int64(array.strides[0] // 4) for array in (x, y))
        x_pitch, y_pitch = pitches
        where = address(scratch, -scratch.ctypes.data % LINE_BYTES)
        self._run(ctypes.byref(self._product), address(x), x_pitch, ctypes.c_int64(len(x)), address(y), y_pitch, where)


def _int8(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    quantized, scale = quantize_weight(weight)
    return _packed(quantized), scale, quantized.sum(axis=1, dtype=np.int32) * scale


def _bfloat16(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    nothing = np.zeros(len(weight))
    return _packed(round_to_bfloat16(weight)), nothing, nothing


def _float32(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    nothing = np.zeros(len(weight))
    return _packed(weight), nothing, nothing


PACKINGS = {"int8": _int8, "bfloat16": _bfloat16, "float32": _float32}
"""Precision -> weight [N, K] as its functions want it, with scales and sums of each output."""


def _packed(weight: np.ndarray) -> np.ndarray:
    """[N, K] to [panels, groups of K, 16 outputs, elements of a group]: a line of 64 bytes for each group, as kernels/products.h wants it. Zeros fill it up."""
    group, per_line = 4 // weight.itemsize, LINE_BYTES // weight.itemsize
    outputs, columns = weight.shape
    panels, lines = -(-outputs // PANEL_OUTPUTS), -(-columns // per_line)
    full = np.zeros((panels * PANEL_OUTPUTS, lines * per_line), weight.dtype)
    full[:outputs, :columns] = weight
    return aligned(full.reshape(panels, PANEL_OUTPUTS, lines * 16, group).transpose(0, 2, 1, 3))


def _padded(vector: np.ndarray, outputs: int) -> np.ndarray:
    full = np.zeros(-(-outputs // PANEL_OUTPUTS) * PANEL_OUTPUTS, np.float32)
    full[:outputs] = vector
    return full
