"""Rotary position embeddings (RoPE): which angles a document's positions turn its queries and keys by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class DynamicNtk(NamedTuple):
    """NTK scaling by the document's own length L: where L > trained_positions, theta becomes theta * (factor L / trained_positions - factor + 1)^(D / (D - 2)).

    So inverse frequency i of D/2 is divided by that base to the power 2i / (D - 2). A document's angles depend on no other document.
    """

    factor: float
    trained_positions: int

    def stretch(self, length: int) -> float:
        """factor L / trained_positions - factor + 1; 1 up to trained_positions."""
        return max(1.0, self.factor * length / self.trained_positions - (self.factor - 1.0))


class Rotary(NamedTuple):
    """Rotation by halves ("rotate_half"): dimension i of a head turns together with i + D/2, by position * inverse_frequencies[i].

    inverse_frequencies: [D/2] float32, static scaling already applied by the model. Positions count from 0 in each document.
    """

    inverse_frequencies: np.ndarray
    dynamic: DynamicNtk | None = None

    def frequencies(self, length: int) -> np.ndarray:
        """[D/2] float32, of a document of `length` tokens."""
        stretch = 1.0 if self.dynamic is None else self.dynamic.stretch(length)
        if stretch == 1.0:
            return np.asarray(self.inverse_frequencies, np.float32)
        half = len(self.inverse_frequencies)
        powers = np.arange(half, dtype=np.float64) / max(half - 1, 1)  # 2i / (D - 2)
        return (self.inverse_frequencies.astype(np.float64) / stretch**powers).astype(np.float32)

    def frequencies_up_to(self, longest: int) -> np.ndarray:
        """[longest - trained_positions + 1, D/2] float32: those of trained_positions tokens and of each length above, where theta depends on the length."""
        assert self.dynamic is not None
        trained, half = self.dynamic.trained_positions, len(self.inverse_frequencies)
        stretches = np.array([self.dynamic.stretch(length) for length in range(trained, max(longest, trained) + 1)])
        powers = np.arange(half, dtype=np.float64) / max(half - 1, 1)
        table: np.ndarray = (self.inverse_frequencies.astype(np.float64) / stretches[:, None] ** powers).astype(np.float32)
        return table

    def cosines_and_sines(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Two [L, D/2] float32. The angle is a product in float32, as the reference implementations round it; its cosine and sine are exact."""
        angles = np.arange(length, dtype=np.float32)[:, None] * self.frequencies(length)
        return np.cos(angles.astype(np.float64)).astype(np.float32), np.sin(angles.astype(np.float64)).astype(np.float32)


def inverse_frequencies(theta: float, head_dim: int) -> np.ndarray:
    """theta^(-2i/D) for i below D/2: [D/2] float32, each step rounded as the implementations do that models were trained with.

    At position 8,192 the last bit of a frequency is felt in the third digit of an angle.
    """
    powers = (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)).astype(np.float64)
    inverse: np.ndarray = np.float32(1) / (float(theta) ** powers).astype(np.float32)
    return inverse
