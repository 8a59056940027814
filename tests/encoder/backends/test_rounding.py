"""The bounds of test_ops.py: a correct backend stays within them even where it sums term by term in float32, and a faulty one does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from embermill.encoder.ops.base import Linear
from embermill.encoder.ops.reference import ReferenceOps
from tests.encoder.backends import test_family_ops, test_ops
from tests.encoder.backends.each_backend import Backend
from tests.encoder.backends.sequential import SequentialOps
from tests.encoder.backends.test_ops import random

__all__ = ["random"]  # a fixture

FLOAT32 = Backend("sequential", "float32", 6e-8)
BODIES: dict[str, Callable[[Any, Backend, np.random.Generator], None]] = {
    "embed": lambda ops, backend, random: test_ops.test_embed(ops, backend, random, 384),
    "linear": lambda ops, backend, random: test_ops.test_linear(ops, backend, random, None, 384, 96, False, True),
    "linear, gelu": lambda ops, backend, random: test_ops.test_linear(ops, backend, random, "gelu", 384, 96, True, True),
    "linear and residual": test_ops.test_linear_adds_the_residual_last,
    "add_layer_norm": lambda ops, backend, random: test_ops.test_add_layer_norm(ops, backend, random, 384, True),
    "linear_norm": lambda ops, backend, random: test_ops.test_linear_norm(ops, backend, random, 256, 256),
    "attention": lambda ops, backend, random: test_ops.test_attention(ops, backend, random, 4, 64, 1.0),
    "sharp attention": lambda ops, backend, random: test_ops.test_attention(ops, backend, random, 2, 32, 30.0),
    "rotary": lambda ops, backend, random: test_family_ops.test_attention_with_positions(ops, backend, random, "rotary", 2, 12),
    "glu": lambda ops, backend, random: test_family_ops.test_glu(ops, backend, random, "gelu", True),
    "block": lambda ops, backend, random: test_ops.test_post_norm_block(ops, backend, random, "gelu", 3, 16, 100),
}


@pytest.mark.parametrize("body", BODIES)
def test_every_correct_order_of_summation_is_within_the_bounds(body: str, random: np.random.Generator) -> None:
    BODIES[body](SequentialOps(), FLOAT32, random)


class WrongColumn(SequentialOps):
    """A product of weights of which one row is another's."""

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        return super().linear(np.concatenate([weight[1:2], weight[1:]]), bias, activation)


class MissingTerm(SequentialOps):
    """A product that leaves out the last of its terms."""

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        return super().linear(np.where(np.arange(weight.shape[1]) < weight.shape[1] - 1, weight, np.float32(0)), bias, activation)


class NoBias(SequentialOps):
    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        return super().linear(weight, None, activation)


class TanhForErf(SequentialOps):
    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        return super().linear(weight, bias, "gelu_new" if activation == "gelu" else activation)


class HalfPrecision(SequentialOps):
    """Weights rounded to float16 on the way."""

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Linear:
        return super().linear(weight.astype(np.float16).astype(np.float32), bias, activation)


class OtherEps(SequentialOps):
    def add_layer_norm(self, gamma: np.ndarray, beta: np.ndarray | None, eps: float) -> Callable[[np.ndarray, np.ndarray | None], np.ndarray]:
        return super().add_layer_norm(gamma, beta, 1e-2)


class TwoAsOne(SequentialOps):
    """Attention that takes the first two documents for one."""

    def attention(self, num_heads: int, head_dim: int, **positions: Any) -> Callable[[np.ndarray, Any], np.ndarray]:
        attend = super().attention(num_heads, head_dim, **positions)
        return lambda qkv, batch: attend(qkv, batch._replace(cu_seqlens=np.delete(batch.cu_seqlens, 1), lengths=np.diff(np.delete(batch.cu_seqlens, 1))))


FAULTS: list[tuple[type[ReferenceOps], str]] = [
    (WrongColumn, "linear"),
    (WrongColumn, "linear_norm"),
    (MissingTerm, "linear"),
    (NoBias, "linear, gelu"),
    (NoBias, "linear_norm"),
    (TanhForErf, "linear, gelu"),
    (TanhForErf, "glu"),
    (HalfPrecision, "linear"),
    (HalfPrecision, "linear_norm"),
    (OtherEps, "add_layer_norm"),
    (OtherEps, "linear_norm"),
    (TwoAsOne, "attention"),
]


@pytest.mark.parametrize(("faulty", "body"), FAULTS, ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_a_fault_is_outside_the_bounds(faulty: type[ReferenceOps], body: str, random: np.random.Generator) -> None:
    with pytest.raises(AssertionError):
        BODIES[body](faulty(), FLOAT32, random)
