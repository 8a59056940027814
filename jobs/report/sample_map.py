"""A sample of vectors on a map: two principal components, and of each row its nearest neighbours in the sample, by cosine. NumPy alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from embermill.jobs.report.refused import shorten
from embermill.jobs.report.rows import Sample

NEIGHBOURS = 5
SMALLEST_NORM = 1e-12
LONGEST = 100  # characters of a value


def draw_map(sample: Sample, seed: int) -> dict[str, Any]:
    """{"seed", "columns", "explained": share of the variance of either axis, "points": [{"x", "y", "values", "nearest": [[point, cosine]]}]}"""
    vectors = sample.vectors.astype(np.float64)
    places, explained = principal_components(vectors)
    nearest, cosines = nearest_rows(vectors, NEIGHBOURS)
    points = [
        {
            "x": round(float(x), 4),
            "y": round(float(y), 4),
            "values": [None if value is None else shorten(" ".join(str(value).split()), LONGEST) for value in row],
            "nearest": [[int(other), round(float(cosine), 3)] for other, cosine in zip(others, scores, strict=True)],
        }
        for (x, y), row, others, scores in zip(places, sample.values, nearest, cosines, strict=True)
    ]
    return {"seed": seed, "columns": [*sample.names], "explained": [round(share, 4) for share in explained], "points": points}


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """vectors: [N, E] float64. Returns ([N, 2], share of the variance on either axis). The sign of an axis is that of its largest entry."""
    places, shares = np.zeros((len(vectors), 2)), (0.0, 0.0)
    if len(vectors) < 2:
        return places, shares
    centred = vectors - vectors.mean(axis=0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    variance = lengths**2
    axes = axes[:2]
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    places[:, : len(axes)] = centred @ axes.T
    if total := float(variance.sum()):
        padded = [*(variance / total).tolist(), 0.0]
        shares = (padded[0], padded[1])
    return places, shares


def nearest_rows(vectors: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """vectors: [N, E]. Returns (rows [N, K], cosines [N, K]), the nearest first, never the row itself; equal ones in row order."""
    norms = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST_NORM)
    cosines = (vectors / norms) @ (vectors / norms).T
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : max(0, min(number, len(vectors) - 1))]
    return order, np.take_along_axis(cosines, order, axis=1)
