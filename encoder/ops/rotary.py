"""Rotary position embeddings (RoPE): which angles a document's positions turn its queries and keys by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class DynamicNtk(NamedTuple):
    """NTK scaling by the document's own length L: where L > trained_positions, theta becomes theta * (factor L / trained_positions - factor + 1)^(D / (D - 2)).

    A document's angles depend on no other document.
    """

    theta: float
    factor: float
    trained_positions: int

    def frequencies(self, lengths: np.ndarray, head_dim: int) -> np.ndarray:
        """[N, D/2] float32, of documents of `lengths` [N] tokens, each step rounded as transformers does where a length is above trained_positions."""
        factor, trained = np.float32(self.factor), np.float32(self.trained_positions)
        stretch = np.maximum(np.float32(1), factor * lengths.astype(np.float32) / trained - np.float32(self.factor - 1.0))
        thetas = np.float32(self.theta) * (stretch.astype(np.float64) ** (head_dim / max(head_dim - 2, 1))).astype(np.float32)
        found: np.ndarray = np.float32(1) / (thetas[:, None].astype(np.float64) ** _powers(head_dim)).astype(np.float32)
        return found


class Rotary(NamedTuple):
    """Rotation by halves ("rotate_half"): dimension i of a head turns together with i + D/2, by position * inverse_frequencies[i].

    inverse_frequencies: [D/2] float32, static scaling already applied by the model. Positions count from 0 in each document.
    """

    inverse_frequencies: np.ndarray
    dynamic: DynamicNtk | None = None

    def frequencies(self, length: int) -> np.ndarray:
        """[D/2] float32, of a document of `length` tokens."""
        if self.dynamic is None or length <= self.dynamic.trained_positions:
            return np.asarray(self.inverse_frequencies, np.float32)
        found: np.ndarray = self.dynamic.frequencies(np.array([length]), 2 * len(self.inverse_frequencies))[0]
        return found

    def frequencies_up_to(self, longest: int) -> np.ndarray:
        """[longest - trained_positions + 1, D/2] float32: those of trained_positions tokens and of each length above, where theta depends on the length."""
        assert self.dynamic is not None
        trained = self.dynamic.trained_positions
        longer = self.dynamic.frequencies(np.arange(trained + 1, max(longest, trained) + 1), 2 * len(self.inverse_frequencies))
        table: np.ndarray = np.concatenate([np.asarray(self.inverse_frequencies, np.float32)[None], longer])
        return table

    def cosines_and_sines(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Two [L, D/2] float32. The angle is a product in float32, as the reference implementations round it; its cosine and sine are exact."""
        angles = np.arange(length, dtype=np.float32)[:, None] * self.frequencies(length)
        return np.cos(angles.astype(np.float64)).astype(np.float32), np.sin(angles.astype(np.float64)).astype(np.float32)


def inverse_frequencies(theta: float, head_dim: int) -> np.ndarray:
    """theta^(-2i/D) for i below D/2: [D/2] float32, each step rounded as the implementations do that models were trained with.

    At position 8,192 the last bit of a frequency is felt in the third digit of an angle.
    """
    inverse: np.ndarray = np.float32(1) / (float(theta) ** _powers(head_dim)).astype(np.float32)
    return inverse


def _powers(head_dim: int) -> np.ndarray:
    """2i/D for i below D/2: float32's values, in float64."""
    return (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)).astype(np.float64)
