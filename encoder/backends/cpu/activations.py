"""Activation functions of the CPU backend: float32, in place, with as few passes over memory as they need.

Each works on a block that fits in a core's cache (see numpy_linear.py); every line below is one pass of NumPy over that block, 0.06 to 0.2 ns for
each value. numpy.exp takes 1.3 ns and numpy.tanh 2.6 ns, which is why the erf form of GELU goes without them (infra/decisions/0001).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from embermill.encoder.backends.cpu.workspace import Workspace
from embermill.encoder.errors import ModelConfigError

Activation = Callable[[np.ndarray, Workspace], None]
"""Changes a C-contiguous float32 block in place; scratch comes from the calling thread's workspace."""


def _scalars(*values: float) -> tuple[np.ndarray, ...]:
    """As arrays without dimensions: a Python or NumPy scalar would be converted at each use."""
    return tuple(np.array(value, np.float32) for value in values)


GELU_COEFFICIENTS = _scalars(
    1.0000000060780643,
    0.0997351242029867,
    0.044767454855077146,
    0.008654066687970046,
    0.0008919707884025735,
    0.00017902159825727338,
    6.938526102824711e-05,
    -1.0732087938861813e-05,
    2.4208151714992622e-06,
)
ONE, HALF, GELU_NEW_CUBIC, GELU_NEW_SCALE = _scalars(1.0, 0.5, 0.044715, 0.7978845608028654)


def gelu(x: np.ndarray, workspace: Workspace) -> None:
    """x Phi(x), the erf form, to 5e-7 |x|.

    With a = |x|: 2 gelu(x) = x + a - 2 a Phi(-a), and 2 Phi(-a) = P(a)^-8 where P is a polynomial of degree 8, fitted for the least absolute error
    of Phi over [0, 6.2] (5e-8); further out it only grows, to infinity, where a / P^8 is 0 as it should be. The tail of a negative x keeps its
    relative precision, because x + a is then exactly 0.
    """
    size, power = workspace.array("activation size", *x.shape), workspace.array("activation power", *x.shape)
    np.abs(x, out=size)
    np.multiply(size, GELU_COEFFICIENTS[-1], out=power)
    power += GELU_COEFFICIENTS[-2]
    for coefficient in GELU_COEFFICIENTS[-3::-1]:
        power *= size
        power += coefficient
    for _ in range(3):
        np.square(power, out=power)
    np.divide(size, power, out=power)
    x += size
    x -= power
    x *= HALF


def gelu_new(x: np.ndarray, workspace: Workspace) -> None:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    inner = workspace.array("activation size", *x.shape)
    np.square(x, out=inner)
    inner *= GELU_NEW_CUBIC
    inner += ONE
    inner *= x
    inner *= GELU_NEW_SCALE
    np.tanh(inner, out=inner)
    inner += ONE
    x *= inner
    x *= HALF


def silu(x: np.ndarray, workspace: Workspace) -> None:
    """x / (1 + exp(-x))."""
    inner = workspace.array("activation size", *x.shape)
    np.negative(x, out=inner)
    np.exp(inner, out=inner)
    inner += ONE
    np.divide(x, inner, out=x)


def relu(x: np.ndarray, workspace: Workspace) -> None:
    np.maximum(x, 0.0, out=x)


def tanh(x: np.ndarray, workspace: Workspace) -> None:
    np.tanh(x, out=x)


ACTIVATIONS: dict[str, Activation] = {"gelu": gelu, "gelu_new": gelu_new, "relu": relu, "silu": silu, "tanh": tanh}


def activation_named(name: str | None) -> Activation | None:
    """The function that `name` means; None for no activation. Raises ModelConfigError for any other name."""
    if name is None:
        return None
    if name not in ACTIVATIONS:
        raise ModelConfigError(f"activation: expected one of {sorted(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]
