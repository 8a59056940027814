"""From hidden states to embeddings: pooling over each document, or parts of it, then the model's Dense modules, truncation, L2.

    hidden_states [T, E] -> cls | mean | max | last -> [B, E] -> Dense, Normalize ... -> [B, N] -> (LayerNorm) first `dimensions` columns -> L2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from embermill.encoder.config import DenseConfig, Normalize
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.parameters import open_dense

Head = Callable[[Activations, DeviceBatch], Activations]


def plan_head(
    ops: Ops, pooling: str, modules: Sequence[DenseConfig | Normalize], *, dimensions: int | None, normalize: bool, truncation_norm_eps: float | None = None
) -> Head:
    """(hidden_states [T, E], batch) to embeddings [B, N] float32.

    modules: what follows pooling, a last normalisation left out. dimensions: keep this many columns. normalize: L2 at the very end, so that
    truncated embeddings have length one again. truncation_norm_eps: of a LayerNorm over the whole vector before columns are dropped.
    A batch with spans has their means pooled, whatever `pooling` is.
    """
    pool, pool_spans = ops.segment_pool(pooling), ops.span_pool()
    steps: list[Callable[[Activations], Activations]] = [_plan_module(ops, module) for module in modules]
    if dimensions is not None and truncation_norm_eps is not None:
        steps.append(ops.layer_norm(truncation_norm_eps))
    if dimensions is not None:
        steps.append(ops.truncate(dimensions))
    if normalize:
        steps.append(ops.l2_normalize)

    def run(hidden_states: Activations, batch: DeviceBatch) -> Activations:
        embeddings = (pool if batch.spans is None else pool_spans)(hidden_states, batch)
        for step in steps:
            embeddings = step(embeddings)
        return embeddings

    return run


def _plan_module(ops: Ops, module: DenseConfig | Normalize) -> Callable[[Activations], Activations]:
    if isinstance(module, Normalize):
        return ops.l2_normalize
    with open_dense(module) as parameters:
        return ops.dense(parameters["linear.weight"], parameters["linear.bias"] if module.bias else None, module.activation)
