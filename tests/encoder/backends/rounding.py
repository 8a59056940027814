"""How far a correct operation may be from its value in float64, element by element: what float32 sums carry in any order, and weights that are stored rounded.

A bound of so many roundings of the largest result is none: rounding errors grow with the partial sums of the terms, not with what is left of them. Two hold
for a sum of n products p in any order, and the smaller is taken (Higham, Accuracy and Stability of Numerical Algorithms, sections 3.1 and 2.8):
- always: gamma(n) times the sum of |p|;
- with weights drawn by sign at random, as in these tests: no partial sum is above 8 |p|_2 but in 4 of exp(32) cases (Levy's inequality), and n roundings, each
  of at most FLOAT32 of a partial sum and as often up as down, add up to more than 8 sqrt(n) of that in 2 of exp(32) (Azuma's).
To first order in the rounding. `unit` is that of what a backend stores (Backend.unit).
"""

from __future__ import annotations

import numpy as np

FLOAT32 = 2.0**-24
DEVIATIONS = 8
STEEPEST = 1.13  # slope of an activation: both forms of GELU reach 1.129
Array = np.ndarray


def gamma(n: int) -> float:
    """n roundings in a row, in float32."""
    return n * FLOAT32 / (1 - n * FLOAT32)


def stored(unit: float) -> float:
    """Rounding of a float32 weight when it is stored: none in float32."""
    return 0.0 if unit < 2 * FLOAT32 else unit


def product_error(x: Array, weight: Array, unit: float) -> Array:
    """Of x @ weight.T. x: [T, n] float64, as the backend holds it; weight: [N, n] float32, as it was given. Returns [T, N]."""
    n, matrix = x.shape[1] + 1, weight.T.astype(np.float64)
    largest = np.abs(x) @ np.abs(matrix)
    likely = DEVIATIONS**2 * n**0.5 * FLOAT32 * np.sqrt(x**2 @ matrix**2)
    return np.minimum(gamma(n) * largest, likely) + stored(unit) * largest


def norm_error(x: Array, error: Array | float, gain: Array, eps: float) -> Array:
    """Of LayerNorm(x) * gain, where x [T, E] itself is known to within `error` [T, E]. Returns [T, E]."""
    sums = gamma(x.shape[1] + 2)
    mean_error = np.mean(error + sums * np.abs(x), axis=-1, keepdims=True)
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    unit_values = np.abs(centred) / deviation
    centred_error = error + mean_error + FLOAT32 * np.abs(centred)
    deviation_error = (unit_values * centred_error).mean(-1, keepdims=True) + sums * deviation
    return np.abs(gain) * (centred_error + unit_values * deviation_error) / deviation


def attention_error(query: Array, key: Array, value: Array, unit: float) -> Array:
    """Of softmax(q k^T / sqrt(D)) v, for one document. query, key, value: [H, L, D] float64, as the backend holds them. Returns [H, L, D].

    The odds may be stored as activations are, before they meet the values.
    """
    root, (length, dim) = np.sqrt(query.shape[-1]), query.shape[1:]
    scores = query @ key.transpose(0, 2, 1) / root
    largest = np.abs(scores).max(-1, keepdims=True)
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    odds /= odds.sum(-1, keepdims=True)
    score_error = gamma(dim + 2) * (np.abs(query) @ np.abs(key).transpose(0, 2, 1)) / root + 3 * FLOAT32 * (np.abs(scores) + largest)
    each = score_error + gamma(length + 8) + stored(unit)
    return np.asarray(odds * (each + (odds * each).sum(-1, keepdims=True)) @ np.abs(value))
