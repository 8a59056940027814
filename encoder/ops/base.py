"""The vocabulary of the forward pass: about ten operations, each *planned* once when the weights arrive and then only called.

Dimension letters: B sequences, T packed rows, E hidden, H heads, D head dim, F feed-forward, V vocabulary.
Weights come in as NumPy arrays of shape [out, in] (any strides: a transposed view of a stored [in, out] is used as it lies where that
is as fast). What flows between planned layers is opaque (`Activations`): a backend may keep it in 16 bits, in 8 bits with scales, or on
a device. NumPy (backends/cpu) is the specification; every other backend passes the same test body.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from embermill.encoder.pipeline.batching import PackedBatch

Activations = Any  # [T, N] in whatever form the backend keeps it
DeviceBatch = Any  # a PackedBatch where the backend wants it


class Linear(Protocol):
    """A planned product. x: [T, K] -> [T, N]; `residual` [T, N] is added after bias and activation."""

    def __call__(self, x: Activations, residual: Activations | None = None) -> Activations: ...


class Pending(Protocol):
    """Embeddings that are being computed."""

    def result(self) -> np.ndarray:
        """[B, E] float32, in the batch's own order; waits until they are there."""
        ...


class Program(Protocol):
    """A whole forward pass, planned: batches in, embeddings out, several in flight.

    `submit` is called by one thread at a time, and may block while `depth` batches are already in flight; results may be asked for by another thread,
    in the order of the batches. Where there are two threads, the result of the batch `depth` before has come by the time of a `submit` (Runner sees to it).
    """

    depth: int

    def submit(self, batch: PackedBatch) -> Pending: ...
    def close(self) -> None: ...


class MergedWeight:
    """Weights of several products of the same input, [N1, K], [N2, K], ..., that are one [N1 + N2 + ..., K] to whoever asks for an array.

    Merging copies: a quarter of a BERT, and most of the time of loading a large one. A backend that can do without uses the parts as they lie.
    """

    def __init__(self, parts: tuple[np.ndarray, ...]) -> None:
        self.parts = parts

    @property
    def shape(self) -> tuple[int, int]:
        return sum(len(part) for part in self.parts), self.parts[0].shape[1]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The merged array, in the layout of its parts: rows one under another, or columns of a stored [in, out] side by side."""
        if all(part.T.flags.c_contiguous for part in self.parts):
            merged = np.concatenate([part.T for part in self.parts], axis=1).T
        else:
            merged = np.concatenate(self.parts)
        return merged if dtype is None else merged.astype(dtype, copy=False)


class LayerWeights(NamedTuple):
    """One BERT layer as it is in the paper: [out, in] weights, those of query, key and value as one ([3E, E])."""

    qkv: np.ndarray | MergedWeight
    qkv_bias: np.ndarray
    attention_output: np.ndarray
    attention_output_bias: np.ndarray
    attention_norm: tuple[np.ndarray, np.ndarray]  # gamma, beta
    intermediate: np.ndarray
    intermediate_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray
    output_norm: tuple[np.ndarray, np.ndarray]


class LayerShape(NamedTuple):
    """What a layer needs to know beside its weights."""

    num_heads: int
    head_dim: int
    activation: str  # "gelu" (erf), "gelu_new" (tanh), "relu"
    layer_norm_eps: float


class Ops(ABC):
    """One backend at one precision. Choose once (`get_ops`), then run straight."""

    name: str  # "numpy", "cupy", "cuda"
    precision: str  # "float32", "float16", "bfloat16"
    row_block: int  # what `pack` is given (1: packed tightly); final once every linear layer is planned, like max_batch_tokens
    max_batch_tokens: int  # the budget of one packed batch, in rows
    kernel_set: str  # what computed it, for the receipt: library versions and kernel names

    @abstractmethod
    def embed(
        self, word: np.ndarray, position: np.ndarray, token_type: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float
    ) -> Callable[[DeviceBatch], Activations]:
        """word [V, E] + position [P, E] + token_type [E], then LayerNorm -> batch to [T, E]."""

    @abstractmethod
    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        """weight [N, K], bias [N] -> x [T, K] to activation(x @ weight.T + bias) (+ residual). activation: "gelu", "gelu_new", "relu", "tanh" or None."""

    @abstractmethod
    def add_layer_norm(self, gamma: np.ndarray, beta: np.ndarray, eps: float) -> Callable[[Activations, Activations | None], Activations]:
        """(x, residual) to LayerNorm(x + residual), statistics in float32; it may be written where x was, which is not to be read afterwards."""

    def linear_norm(
        self, weight: np.ndarray, bias: np.ndarray, gamma: np.ndarray, beta: np.ndarray, eps: float
    ) -> Callable[[Activations, Activations], Activations]:
        """weight [E, K], bias, gamma, beta [E] -> (x [T, K], residual [T, E]) to LayerNorm(x @ weight.T + bias + residual); a backend may plan it as one."""
        product, norm = self.linear(weight, bias), self.add_layer_norm(gamma, beta, eps)
        return lambda x, residual: norm(product(x), residual)

    @abstractmethod
    def attention(self, num_heads: int, head_dim: int) -> Callable[[Activations, DeviceBatch], Activations]:
        """(qkv [T, 3, H, D] as [T, 3E], batch) to [T, E]: softmax(q k^T / sqrt(D)) v inside each document."""

    @abstractmethod
    def segment_pool(self, kind: str) -> Callable[[Activations, DeviceBatch], Activations]:
        """(hidden_states [T, E], batch) to [B, E] float32. kind: "cls", "mean", "max" or "last"."""

    @abstractmethod
    def dense(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None) -> Callable[[Activations], Activations]:
        """The sentence-transformers Dense module: [B, E] to [B, N], float32; a row's bits do not depend on the other rows."""

    @abstractmethod
    def truncate(self, dimensions: int) -> Callable[[Activations], Activations]:
        """[B, E] to its first `dimensions` columns."""

    @abstractmethod
    def l2_normalize(self, x: Activations) -> Activations:
        """[B, E] float32, each row divided by max(its norm, 1e-12)."""

    @abstractmethod
    def to_device(self, batch: PackedBatch) -> DeviceBatch: ...

    @abstractmethod
    def to_host(self, x: Activations) -> np.ndarray:
        """float32 on the host."""

    @abstractmethod
    def program(self, forward: Callable[[DeviceBatch], Activations]) -> Program:
        """A forward pass made of this object's layers, run over packed batches: threads on a CPU, streams and graphs on a GPU."""

    def layer(self, weights: LayerWeights, shape: LayerShape) -> Callable[[Activations, DeviceBatch], Activations]:
        """A whole encoder layer, (hidden_states [T, E], batch) to [T, E]; post-norm, as BERT's. A backend may plan it as one."""
        qkv, attend = self.linear(np.asarray(weights.qkv), weights.qkv_bias), self.attention(shape.num_heads, shape.head_dim)
        attention_output = self.linear_norm(weights.attention_output, weights.attention_output_bias, *weights.attention_norm, shape.layer_norm_eps)
        intermediate = self.linear(weights.intermediate, weights.intermediate_bias, shape.activation)
        output = self.linear_norm(weights.output, weights.output_bias, *weights.output_norm, shape.layer_norm_eps)

        def run(hidden_states: Activations, batch: DeviceBatch) -> Activations:
            context = attend(qkv(hidden_states), batch)
            hidden_states = attention_output(context, hidden_states)
            return output(intermediate(hidden_states), hidden_states)

        return run
