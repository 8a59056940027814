"""A backend that is as inexact as a correct one may be: float32 throughout, and every sum taken from its first term to its last.

It passes the same test bodies as the others, so their bounds admit every correct order of summation; rounding.py derives them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embermill.encoder.ops import reference
from embermill.encoder.ops.base import Linear
from embermill.encoder.ops.blocks import NormWeights
from embermill.encoder.ops.reference import ReferenceOps, documents
from embermill.encoder.ops.rotary import Rotary
from embermill.encoder.pipeline.batching import PackedBatch

Array = np.ndarray


def total(terms: Array) -> Array:
    """Over the last axis. [..., n] float32. Returns [...] float32."""
    so_far = np.zeros(terms.shape[:-1], np.float32)
    for term in np.moveaxis(terms, -1, 0):
        so_far += term
    return so_far


def product(x: Array, weight: Array) -> Array:
    """x: [T, n], weight: [N, n], float32. Returns [T, N] float32: n products, each rounded before it is added."""
    so_far = np.zeros((len(x), len(weight)), np.float32)
    for column, factor in zip(x.T, weight.T, strict=True):
        so_far += column[:, None] * factor
    return so_far


def layer_norm(x: Array, gamma: Array | float = 1.0, beta: Array | float | None = None, *, eps: float) -> Array:
    width = np.float32(x.shape[-1])
    centred = x - (total(x) / width)[..., None]
    y = centred / np.sqrt(total(centred**2) / width + np.float32(eps))[..., None] * np.float32(gamma)
    return np.asarray(y if beta is None else y + beta)


def attend(qkv: Array, rotary: Rotary | None, window: int | None, bias: Array | None) -> Array:
    """One document. qkv: [L, 3, H, D] float32. Returns [L, H, D]."""
    query, key, value = qkv[:, 0], qkv[:, 1], qkv[:, 2]
    if rotary is not None:
        cosines, sines = (angles.astype(np.float32) for angles in rotary.cosines_and_sines(len(qkv)))
        query, key = reference.rotate(query, cosines, sines), reference.rotate(key, cosines, sines)
    distance = np.arange(len(qkv)) - np.arange(len(qkv))[:, None]  # k - q
    context = np.zeros(value.shape, np.float32)
    for head in range(qkv.shape[2]):
        scores = product(query[:, head], key[:, head]) / np.float32(np.sqrt(qkv.shape[-1]))
        if bias is not None:
            reach = bias.shape[1] // 2
            scores = scores + bias[head, np.clip(distance, -reach, reach) + reach]
        if window is not None:
            scores = np.where(np.abs(distance) <= window, scores, np.float32(-np.inf))
        odds = np.exp(scores - scores.max(-1, keepdims=True))
        context[:, head] = product(odds, value[:, head].T) / total(odds)[:, None]
    return context


class SequentialOps(ReferenceOps):
    """[T, N] float32 on the CPU."""

    name, precision, kernel_set = "sequential", "float32", "sequential"

    def embed(
        self, word: Array, position: Array | None = None, token_type: Array | None = None, norm: NormWeights | None = None, position_offset: int = 0
    ) -> Callable[[PackedBatch], Array]:
        summed = super().embed(word, position, token_type, None, position_offset)

        def run(batch: PackedBatch) -> Array:
            x = summed(batch).astype(np.float32)
            return x if norm is None else layer_norm(x, norm.gamma, norm.beta, eps=norm.eps)

        return run

    def linear(self, weight: Array, bias: Array | None, activation: str | None = None) -> Linear:
        reference.activate(np.zeros(0), activation)  # refuses an unknown name

        def run(x: Array, residual: Array | None = None) -> Array:
            y = product(x, weight)
            y = reference.activate(y if bias is None else y + bias, activation).astype(np.float32)
            return y if residual is None else y + residual

        return run

    def add_layer_norm(self, gamma: Array, beta: Array | None, eps: float) -> Callable[[Array, Array | None], Array]:
        return lambda x, residual: layer_norm(x if residual is None else x + residual, gamma, beta, eps=eps)

    def sum_and_layer_norm(self, gamma: Array, beta: Array | None, eps: float) -> Callable[[Array, Array], tuple[Array, Array]]:
        return lambda x, residual: (x + residual, layer_norm(x + residual, gamma, beta, eps=eps))

    def attention(
        self, num_heads: int, head_dim: int, *, rotary: Rotary | None = None, window: int | None = None, bias: Array | None = None
    ) -> Callable[[Array, PackedBatch], Array]:
        def run(qkv: Array, batch: PackedBatch) -> Array:
            context = np.zeros((len(qkv), num_heads * head_dim), np.float32)
            for rows in documents(batch):
                context[rows] = attend(qkv[rows].reshape(-1, 3, num_heads, head_dim), rotary, window, bias).reshape(-1, num_heads * head_dim)
            return context

        return run

    def segment_pool(self, kind: str) -> Callable[[Array, PackedBatch], Array]:
        pool = super().segment_pool(kind)
        return lambda x, batch: pool(x, batch).astype(np.float32)

    def layer_norm(self, eps: float) -> Callable[[Array], Array]:
        return lambda x: layer_norm(x, eps=eps)
