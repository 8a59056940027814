"""The vocabulary of the forward pass: a dozen operations, each *planned* once when the weights arrive and then only called.

Dimension letters: B sequences, T packed rows, E hidden, H heads, D head dim, F feed-forward, V vocabulary.
Weights come in as NumPy arrays of shape [out, in] (any strides: a transposed view of a stored [in, out] is used as it lies where that
is as fast). What flows between planned layers is opaque (`Activations`): a backend may keep it in 16 bits, in 8 bits with scales, or on
a device. ops/reference.py is the specification, a few lines of NumPy for each operation; every backend passes the same test body against it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from embermill.encoder.ops.blocks import NormWeights
from embermill.encoder.ops.rotary import Rotary
from embermill.encoder.pipeline.batching import PackedBatch

Activations = Any  # [T, N] in whatever form the backend keeps it
DeviceBatch = Any  # a PackedBatch where the backend wants it; `spans` is None where the batch has none
Block = Callable[[Activations, DeviceBatch], Activations]  # (hidden_states [T, E], batch) to [T, E]

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu", "tanh")
""""gelu" is the erf form, "gelu_new" that of tanh."""
POOLINGS = ("cls", "mean", "max", "last", "weightedmean", "mean_sqrt_len_tokens")


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


class Ops(ABC):
    """One backend at one precision. Choose once (`get_ops`), then run straight."""

    name: str  # "numpy", "cupy", "cuda"
    precision: str  # "float32", "float16", "bfloat16"
    row_block: int  # what `pack` is given (1: packed tightly); final once every linear layer is planned, like max_batch_tokens
    max_batch_tokens: int  # the budget of one packed batch, in rows
    kernel_set: str  # what computed it, for the receipt: library versions and kernel names
    chosen: str = ""  # which of several ways was chosen for this device, and why; empty where there is but one

    @abstractmethod
    def embed(
        self,
        word: np.ndarray,
        position: np.ndarray | None = None,
        token_type: np.ndarray | None = None,
        norm: NormWeights | None = None,
        position_offset: int = 0,
    ) -> Callable[[DeviceBatch], Activations]:
        """word [V, E] (+ position [P, E]) (+ token_type [E]), then LayerNorm where there is one -> batch to [T, E].

        position_offset: the row of `position` that the first token of a document takes.
        """

    @abstractmethod
    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        """weight [N, K], bias [N] -> x [T, K] to activation(x @ weight.T + bias) (+ residual). activation: one of ACTIVATIONS, or None."""

    @abstractmethod
    def glu(
        self, gate: np.ndarray, up: np.ndarray, gate_bias: np.ndarray | None = None, up_bias: np.ndarray | None = None, activation: str = "silu"
    ) -> Callable[[Activations], Activations]:
        """gate, up [F, K], biases [F] -> x [T, K] to activation(x @ gate.T + gate_bias) * (x @ up.T + up_bias), [T, F]."""

    @abstractmethod
    def add_layer_norm(self, gamma: np.ndarray, beta: np.ndarray | None, eps: float) -> Callable[[Activations, Activations | None], Activations]:
        """(x, residual) to LayerNorm(x + residual), statistics in float32; it may be written where x was, which is not to be read afterwards."""

    @abstractmethod
    def sum_and_layer_norm(
        self, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[Activations, Activations], tuple[Activations, Activations]]:
        """(x, residual) to (x + residual, LayerNorm(x + residual)), for pre-norm layers; x and residual are not to be read afterwards."""

    def linear_norm(
        self, weight: np.ndarray, bias: np.ndarray | None, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[Activations, Activations], Activations]:
        """weight [E, K], bias, gamma, beta [E] -> (x [T, K], residual [T, E]) to LayerNorm(x @ weight.T + bias + residual); a backend may plan it as one."""
        product, norm = self.linear(weight, bias), self.add_layer_norm(gamma, beta, eps)
        return lambda x, residual: norm(product(x), residual)

    def linear_sum_norm(
        self, weight: np.ndarray, bias: np.ndarray | None, gamma: np.ndarray, beta: np.ndarray | None, eps: float
    ) -> Callable[[Activations, Activations], tuple[Activations, Activations]]:
        """The same for pre-norm layers: (x, residual) to (y, LayerNorm(y)) with y = x @ weight.T + bias + residual, which is not to be read afterwards."""
        product, norm = self.linear(weight, bias), self.sum_and_layer_norm(gamma, beta, eps)
        return lambda x, residual: norm(product(x), residual)

    @abstractmethod
    def attention(
        self, num_heads: int, head_dim: int, *, rotary: Rotary | None = None, window: int | None = None, bias: np.ndarray | None = None
    ) -> Callable[[Activations, DeviceBatch], Activations]:
        """(qkv [T, 3, H, D] as [T, 3E], batch) to [T, E]: softmax(q k^T / sqrt(D) + bias) v inside each document. qkv is not to be read afterwards.

        rotary: queries and keys are turned first, it may be in their place. window: a query sees the keys with |q - k| <= window only.
        bias: [H, 2R+1], added to the scaled scores by distance: bias[h, clip(k - q, -R, R) + R].
        """

    def qkv_attention(
        self,
        weight: np.ndarray,
        qkv_bias: np.ndarray | None,
        num_heads: int,
        head_dim: int,
        *,
        rotary: Rotary | None = None,
        window: int | None = None,
        bias: np.ndarray | None = None,
    ) -> Callable[[Activations, DeviceBatch], Activations]:
        """weight [3E, E], qkv_bias [3E] -> (x [T, E], batch) to attention(x @ weight.T + qkv_bias) [T, E]; a backend may plan parts of it as one."""
        product, attend = self.linear(weight, qkv_bias), self.attention(num_heads, head_dim, rotary=rotary, window=window, bias=bias)
        return lambda x, batch: attend(product(x), batch)

    @abstractmethod
    def segment_pool(self, kind: str) -> Callable[[Activations, DeviceBatch], Activations]:
        """(hidden_states [T, E], batch) to [B, E] float32. kind: one of POOLINGS; the batch's first `prompt_tokens` of each document are left out.

        "weightedmean" weighs the n-th token of a document by n; "mean_sqrt_len_tokens" is the sum divided by the root of the number of tokens;
        "cls" is the first token that is left, or the first of all where none is; "last" the last one. All else of nothing is 0.
        """

    @abstractmethod
    def span_pool(self) -> Callable[[Activations, DeviceBatch], Activations]:
        """(hidden_states [T, E], batch with spans) to [S, E] float32: the mean over the rows of each span, 0 where it has none.

        A span of all rows of a document has the bits that segment_pool("mean") gives it.
        """

    @abstractmethod
    def dense(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None) -> Callable[[Activations], Activations]:
        """The sentence-transformers Dense module: [B, E] to [B, N], float32; a row's bits do not depend on the other rows. activation: as in `linear`."""

    @abstractmethod
    def layer_norm(self, eps: float) -> Callable[[Activations], Activations]:
        """[B, E] float32: each row to mean 0 and variance 1, as nomic's Matryoshka wants it before the cut."""

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

    def require_room(self, num_weights: int) -> None:
        """Called before anything is planned. Raises DeviceError with the bytes needed and free where so many weights do not fit on the device."""
        return None

    @abstractmethod
    def program(self, forward: Callable[[DeviceBatch], Activations], longest: int = 64) -> Program:
        """A forward pass made of this object's layers, run over packed batches: threads on a CPU, streams and graphs on a GPU.

        longest: tokens of the longest document to be expected. A backend may lower `max_batch_tokens` here to what its memory holds; DeviceError
        where it does not hold such a document.
        """

    def recognize(self, block: object) -> Block | None:
        """The block of ops/blocks.py planned as one, or None: then models/layers.py plans it from its parts."""
        return None
