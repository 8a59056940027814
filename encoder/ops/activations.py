"""Activation functions of the CPU backend: float32, in place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from encoder.errors import ModelConfigError

Activation = Callable[[np.ndarray], np.ndarray]

ERF_NUMERATOR = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06,
    -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)
ERF_DENOMINATOR = (-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02)
SQRT_HALF = np.float32(0.7071067811865476)


def gelu(x: np.ndarray) -> np.ndarray:
    """x * Phi(x), the erf form."""
    z = np.clip(x * SQRT_HALF, -4.0, 4.0)
    t = z * z
    p = np.full_like(t, ERF_NUMERATOR[0])
    for c in ERF_NUMERATOR[1:]:
        p *= t
        p += np.float32(c)
    q = np.full_like(t, ERF_DENOMINATOR[0])
    for c in ERF_DENOMINATOR[1:]:
        q *= t
        q += np.float32(c)
    p *= z
    p /= q
    p += np.float32(1.0)
    p *= np.float32(0.5)
    x *= p
    return x


def gelu_new(x: np.ndarray) -> np.ndarray:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    t = x * x
    t *= np.float32(0.044715)
    t += np.float32(1.0)
    t *= x
    t *= np.float32(0.7978845608028654)
    np.tanh(t, out=t)
    t += np.float32(1.0)
    t *= np.float32(0.5)
    x *= t
    return x


def relu(x: np.ndarray) -> np.ndarray:
    np.maximum(x, np.float32(0.0), out=x)
    return x


def tanh(x: np.ndarray) -> np.ndarray:
    np.tanh(x, out=x)
    return x


ACTIVATIONS: dict[str, Activation] = {"gelu": gelu, "gelu_new": gelu_new, "relu": relu, "tanh": tanh}


def activation_named(name: str | None) -> Activation | None:
    """The function that `name` means; None for no activation. Raises ModelConfigError for any other name."""
    if name is None:
        return None
    if name not in ACTIVATIONS:
        raise ModelConfigError(f"activation: expected one of {sorted(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]
