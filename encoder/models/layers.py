"""What encoder-only transformers share: parameters by name, gathered into the layers that the ops plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from embermill.encoder.config import TransformerConfig
from embermill.encoder.ops.base import LayerShape, LayerWeights, MergedWeight
from embermill.encoder.weights.loader import Parameters


def layer_shape(config: TransformerConfig) -> LayerShape:
    return LayerShape(config.num_heads, config.head_dim, config.activation, config.layer_norm_eps)


READ_AHEAD = 2


def read_layers(read: Callable[[int], LayerWeights], count: int) -> Iterator[LayerWeights]:
    """Layers 0 to count - 1, the next two being read while one is planned: merging and converting copy memory, which two threads do faster than one."""
    with ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="encoder-load") as pool:
        reading: deque[Future[LayerWeights]] = deque()
        for layer in range(count):
            reading.append(pool.submit(read, layer))
            if len(reading) > READ_AHEAD:
                yield reading.popleft().result()
        while reading:
            yield reading.popleft().result()


def weight_and_bias(parameters: Parameters, name: str) -> tuple[np.ndarray, np.ndarray]:
    """[out, in] and [out] of a product, or gamma and beta of a LayerNorm."""
    return parameters[f"{name}.weight"], parameters[f"{name}.bias"]


MERGE_BYTES = 4 << 20
"""Up to here weights are merged at once: the copy costs little and one wide product is a little faster than several. Above, who needs it merges."""


def merged(parameters: Parameters, names: tuple[str, ...]) -> tuple[np.ndarray | MergedWeight, np.ndarray]:
    """Several products of the same input as one: [sum of outs, in], in the layout of its parts, and [sum of outs]."""
    weights, biases = zip(*(weight_and_bias(parameters, name) for name in names), strict=True)
    weight = MergedWeight(weights)
    return np.asarray(weight) if sum(part.nbytes for part in weights) <= MERGE_BYTES else weight, np.concatenate(biases)
