"""cupy/pooling.cu: hidden states to one float32 vector a document, and what is done with those vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy as cp
import numpy as np

from embermill.encoder.backends.cupy.batch import DeviceArray, GpuBatch, Pooled
from embermill.encoder.backends.cupy.kernel import KernelModule
from embermill.encoder.errors import ModelConfigError
from embermill.encoder.ops.base import POOLINGS, Ops

KERNEL_POOLINGS = {"cls": 0, "mean": 1, "max": 2, "last": 3, "weightedmean": 4, "mean_sqrt_len_tokens": 5}
KERNEL_ACTIVATIONS = {None: 0, "gelu": 1, "gelu_new": 2, "gelu_pytorch_tanh": 2, "relu": 3, "tanh": 4, "silu": 5}  # of activation.cuh
EXACT = {"STORAGE": 32}
"""Activations of float32 vectors: those of 16 bits are only as exact as 16 bits are."""
ROW_BLOCK = (32, 8)  # threads: eight rows at a time


class PooledOps(Ops):
    """The operations on pooled vectors, [B, N] float32 whatever the precision before them."""

    blocks: int
    _module: Callable[..., KernelModule]

    def segment_pool(self, kind: str) -> Callable[[DeviceArray, GpuBatch], Pooled]:
        if kind not in KERNEL_POOLINGS:
            raise ModelConfigError(f"pooling: expected one of {', '.join(POOLINGS)}, got {kind!r}")

        def run(hidden_states: DeviceArray, batch: GpuBatch) -> Pooled:
            width = hidden_states.shape[1]
            kernel = self._module("cupy/pooling.cu", WIDTH=width, POOLING=KERNEL_POOLINGS[kind]).kernel("segment_pool", (64, 4))
            out = cp.empty((batch.room.sequences, width), np.float32)
            kernel((self.blocks,), hidden_states, batch.cu_seqlens, batch.num_sequences, batch.prompt_tokens, out)
            return Pooled(out, batch.num_sequences)

        return run

    def span_pool(self) -> Callable[[DeviceArray, GpuBatch], Pooled]:
        def run(hidden_states: DeviceArray, batch: GpuBatch) -> Pooled:
            width = hidden_states.shape[1]
            kernel = self._module("cupy/pooling.cu", WIDTH=width, POOLING=KERNEL_POOLINGS["mean"]).kernel("span_pool", (64, 4))
            out = cp.empty((batch.room.vectors, width), np.float32)
            kernel((self.blocks,), hidden_states, batch.spans, batch.num_pooled, out)
            return Pooled(out, batch.num_pooled)

        return run

    def dense(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None) -> Callable[[Pooled], Pooled]:
        outputs, inputs = weight.shape
        table, shift = float32(weight), None if bias is None else float32(bias)
        defines = dict(WIDTH=inputs, ACTIVATION=activation_number(activation)) | (EXACT if activation == "gelu" else {})
        kernel = self._module("cupy/pooling.cu", **defines).kernel("dense", ROW_BLOCK)

        def run(x: Pooled) -> Pooled:
            out = cp.empty((len(x.array), outputs), np.float32)
            kernel((min(outputs, 1024), self.blocks // 8), x.array, table, shift, x.rows, out, outputs)
            return Pooled(out, x.rows)

        return run

    def layer_norm(self, eps: float) -> Callable[[Pooled], Pooled]:
        return lambda x: self._each_row("layer_norm", x, float(eps))

    def truncate(self, dimensions: int) -> Callable[[Pooled], Pooled]:
        def run(x: Pooled) -> Pooled:
            kernel = self._module("cupy/pooling.cu", WIDTH=dimensions).kernel("truncate", ROW_BLOCK)
            out = cp.empty((len(x.array), dimensions), np.float32)
            kernel((self.blocks,), x.array, x.rows, out, x.array.shape[1])
            return Pooled(out, x.rows)

        return run

    def l2_normalize(self, x: Pooled) -> Pooled:
        return self._each_row("l2_normalize", x)

    def _each_row(self, kernel: str, x: Pooled, *arguments: Any) -> Pooled:
        out = cp.empty(x.array.shape, np.float32)
        self._module("cupy/pooling.cu", WIDTH=x.array.shape[1]).kernel(kernel, ROW_BLOCK)((self.blocks,), x.array, x.rows, *arguments, out)
        return Pooled(out, x.rows)


def activation_number(name: str | None) -> int:
    """ACTIVATION of activation.cuh. Raises ModelConfigError for an unknown one."""
    if name not in KERNEL_ACTIVATIONS:
        raise ModelConfigError(f"activation: expected one of {', '.join(known for known in KERNEL_ACTIVATIONS if known)}, got {name!r}")
    return KERNEL_ACTIVATIONS[name]


def float32(x: np.ndarray) -> DeviceArray:
    return cp.asarray(np.ascontiguousarray(x, np.float32))


def vector_or_zeros(vector: np.ndarray | None, width: int) -> DeviceArray:
    return float32(np.zeros(width, np.float32) if vector is None else vector)
