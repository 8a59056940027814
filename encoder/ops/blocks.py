"""What a model describes of itself before anything is planned: weights with the numbers that belong to them, and whole blocks made of those.

A backend may recognise a block (`Ops.recognize`) and plan it as one; else models/layers.py plans it from its parts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from embermill.encoder.ops.rotary import Rotary


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


class LinearWeights(NamedTuple):
    """activation(x @ weight.T + bias). weight: [N, K]. bias: [N] or None."""

    weight: np.ndarray | MergedWeight
    bias: np.ndarray | None
    activation: str | None = None


class NormWeights(NamedTuple):
    """LayerNorm. gamma: [E]. beta: [E] or None."""

    gamma: np.ndarray
    beta: np.ndarray | None
    eps: float


class AttentionWeights(NamedTuple):
    """Self-attention with its products. qkv: [3E, E], queries, keys and values one under another. The last three as in `Ops.attention`."""

    qkv: LinearWeights
    output: LinearWeights
    num_heads: int
    head_dim: int
    rotary: Rotary | None = None
    window: int | None = None
    bias: np.ndarray | None = None


class MLPWeights(NamedTuple):
    """down(up(x)); the activation is that of `up`."""

    up: LinearWeights
    down: LinearWeights


class GatedMLPWeights(NamedTuple):
    """down(activation(gate(x)) * up(x)): `gate` holds the activation, whichever half of a merged weight the file keeps it in."""

    gate: LinearWeights
    up: LinearWeights
    down: LinearWeights


class PostNormBlock(NamedTuple):
    """x = LayerNorm(x + attention(x)); x = LayerNorm(x + mlp(x)): the layer of BERT and of most that followed it."""

    attention: AttentionWeights
    attention_norm: NormWeights
    mlp: MLPWeights | GatedMLPWeights
    mlp_norm: NormWeights


class PreNormBlock(NamedTuple):
    """x = x + attention(LayerNorm(x)); x = x + mlp(LayerNorm(x)). attention_norm: None is the identity."""

    attention_norm: NormWeights | None
    attention: AttentionWeights
    mlp_norm: NormWeights
    mlp: MLPWeights | GatedMLPWeights
