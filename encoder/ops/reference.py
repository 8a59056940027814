"""The specification: every operation of base.py in a few lines of NumPy and float64, one document at a time. Slow, and what all backends are tested against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import erf

import numpy as np

from embermill.encoder.errors import ModelConfigError
from embermill.encoder.ops.base import ACTIVATIONS, POOLINGS, Linear, Ops, Program
from embermill.encoder.ops.blocks import NormWeights
from embermill.encoder.ops.rotary import Rotary
from embermill.encoder.pipeline.batching import PackedBatch

Array = np.ndarray


def activate(x: Array, name: str | None) -> Array:
    """x: any shape, float64. Raises ModelConfigError for a name that is none of ACTIVATIONS."""
    if name == "gelu":
        return np.asarray(0.5 * x * (1 + np.vectorize(erf, otypes=[np.float64])(x / np.sqrt(2))))
    if name == "gelu_new":
        return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))
    if name == "silu":
        return np.asarray(x * 0.5 * (1 + np.tanh(x / 2)))
    if name in ("relu", "tanh"):
        return np.asarray(np.maximum(x, 0) if name == "relu" else np.tanh(x))
    if name is not None:
        raise ModelConfigError(f"activation: expected one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return x


def layer_norm(x: Array, gamma: Array | float = 1.0, beta: Array | float | None = None, *, eps: float) -> Array:
    """Over the last axis, with the variance of the values themselves (divided by E, not by E - 1)."""
    centred = x - x.mean(-1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * gamma
    return np.asarray(y if beta is None else y + beta)


def rotate(x: Array, cosines: Array, sines: Array) -> Array:
    """x: [L, H, D]; cosines, sines: [L, D/2]. Dimension i turns with i + D/2."""
    first, second = np.split(x, 2, axis=-1)
    cosines, sines = cosines[:, None], sines[:, None]
    return np.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)


def attend(qkv: Array, rotary: Rotary | None, window: int | None, bias: Array | None) -> Array:
    """One document. qkv: [L, 3, H, D]. Returns [L, H, D]."""
    query, key, value = qkv[:, 0], qkv[:, 1], qkv[:, 2]
    if rotary is not None:
        angles = rotary.cosines_and_sines(len(qkv))
        query, key = rotate(query, *angles), rotate(key, *angles)
    scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(qkv.shape[-1])
    distance = np.arange(len(qkv)) - np.arange(len(qkv))[:, None]  # k - q
    if bias is not None:
        reach = bias.shape[1] // 2
        scores = scores + bias[:, np.clip(distance, -reach, reach) + reach]
    if window is not None:
        scores = np.where(np.abs(distance) <= window, scores, -np.inf)
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    return np.asarray(np.einsum("hqk,khd->qhd", odds / odds.sum(-1, keepdims=True), value))


def pool(x: Array, kind: str, prompt_tokens: int) -> Array:
    """One document. x: [L, E]. Returns [E]."""
    if kind in ("cls", "last"):
        return np.asarray(x[(prompt_tokens if len(x) > prompt_tokens else 0) if kind == "cls" else -1])
    kept, places = x[prompt_tokens:], np.arange(1, len(x) + 1)[prompt_tokens:, None]
    if kind == "max" and len(kept):
        return np.asarray(kept.max(0))
    if kind == "weightedmean":
        return np.asarray((kept * places).sum(0) / max(places.sum(), 1))
    return np.asarray(kept.sum(0) / (max(len(kept), 1) if kind == "mean" else max(len(kept), 1) ** 0.5))


def documents(batch: PackedBatch) -> Iterator[slice]:
    """The rows of each document; what lies between them is nobody's."""
    return (slice(start, start + length) for start, length in zip(batch.cu_seqlens.tolist(), batch.lengths.tolist(), strict=False))


def spans_of(batch: PackedBatch) -> list[tuple[int, int]]:
    assert batch.spans is not None, "a batch with spans"
    return [(start, end) for start, end in batch.spans.tolist()]


class ReferenceOps(Ops):
    """float64 on the CPU, [T, N] arrays; `to_host` rounds to float32."""

    name, precision, kernel_set = "reference", "float64", "reference"
    row_block, max_batch_tokens = 1, 1024

    def embed(
        self, word: Array, position: Array | None = None, token_type: Array | None = None, norm: NormWeights | None = None, position_offset: int = 0
    ) -> Callable[[PackedBatch], Array]:
        def run(batch: PackedBatch) -> Array:
            x = word[batch.input_ids].astype(np.float64)
            if position is not None:
                x = x + position[batch.position_ids + position_offset]
            if token_type is not None:
                x = x + token_type
            return x if norm is None else layer_norm(x, norm.gamma, norm.beta, eps=norm.eps)

        return run

    def linear(self, weight: Array, bias: Array | None, activation: str | None = None) -> Linear:
        activate(np.zeros(0), activation)  # refuses an unknown name

        def run(x: Array, residual: Array | None = None) -> Array:
            y = activate(x @ weight.T.astype(np.float64) + (0.0 if bias is None else bias), activation)
            return y if residual is None else y + residual

        return run

    def glu(
        self, gate: Array, up: Array, gate_bias: Array | None = None, up_bias: Array | None = None, activation: str = "silu"
    ) -> Callable[[Array], Array]:
        activated, plain = self.linear(gate, gate_bias, activation), self.linear(up, up_bias)
        return lambda x: np.asarray(activated(x) * plain(x))

    def add_layer_norm(self, gamma: Array, beta: Array | None, eps: float) -> Callable[[Array, Array | None], Array]:
        return lambda x, residual: layer_norm(x if residual is None else x + residual, gamma, beta, eps=eps)

    def sum_and_layer_norm(self, gamma: Array, beta: Array | None, eps: float) -> Callable[[Array, Array], tuple[Array, Array]]:
        return lambda x, residual: (x + residual, layer_norm(x + residual, gamma, beta, eps=eps))

    def attention(
        self, num_heads: int, head_dim: int, *, rotary: Rotary | None = None, window: int | None = None, bias: Array | None = None
    ) -> Callable[[Array, PackedBatch], Array]:
        def run(qkv: Array, batch: PackedBatch) -> Array:
            context = np.zeros((len(qkv), num_heads * head_dim))
            for rows in documents(batch):
                context[rows] = attend(qkv[rows].reshape(-1, 3, num_heads, head_dim), rotary, window, bias).reshape(-1, num_heads * head_dim)
            return context

        return run

    def segment_pool(self, kind: str) -> Callable[[Array, PackedBatch], Array]:
        if kind not in POOLINGS:
            raise ModelConfigError(f"pooling: expected one of {', '.join(POOLINGS)}, got {kind!r}")
        return lambda x, batch: np.stack([pool(x[rows], kind, batch.prompt_tokens) for rows in documents(batch)])

    def span_pool(self) -> Callable[[Array, PackedBatch], Array]:
        return lambda x, batch: np.stack([x[start:end].mean(0) if start < end else np.zeros(x.shape[1]) for start, end in spans_of(batch)])

    def dense(self, weight: Array, bias: Array | None, activation: str | None) -> Callable[[Array], Array]:
        return self.linear(weight, bias, activation)

    def layer_norm(self, eps: float) -> Callable[[Array], Array]:
        return partial(layer_norm, eps=eps)

    def truncate(self, dimensions: int) -> Callable[[Array], Array]:
        return lambda x: x[:, :dimensions]

    def l2_normalize(self, x: Array) -> Array:
        return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))

    def to_device(self, batch: PackedBatch) -> PackedBatch:
        return batch

    def to_host(self, x: Array) -> Array:
        return np.ascontiguousarray(x, np.float32)

    def program(self, forward: Callable[[PackedBatch], Array], longest: int = 64) -> Program:
        return ReferenceProgram(lambda batch: self.to_host(forward(batch)))


class ReferenceProgram:
    """One batch at a time, computed when it is submitted."""

    depth = 1

    def __init__(self, forward: Callable[[PackedBatch], Array]) -> None:
        self.forward = forward

    def submit(self, batch: PackedBatch) -> ReferenceResult:
        return ReferenceResult(self.forward(batch))

    def close(self) -> None:
        pass


class ReferenceResult:
    """[B, E] float32 that are there already."""

    def __init__(self, embeddings: Array) -> None:
        self.embeddings = embeddings

    def result(self) -> Array:
        return self.embeddings
