"""What encoder-only transformers share: parameters by name, gathered into the layers that the ops plan."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from encoder.config import TransformerConfig
from encoder.ops.base import LayerShape, LayerWeights
from encoder.weights.loader import Parameters


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


def merged(parameters: Parameters, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Several products of the same input as one: [sum of outs, in] and [sum of outs]. The one copy that loading cannot do without.

    The result keeps the layout of its parts: rows of [out, in] one under another, or columns of a stored [in, out] side by side.
    """
    weights, biases = zip(*(weight_and_bias(parameters, name) for name in names), strict=True)
    if all(weight.T.flags.c_contiguous for weight in weights):
        return np.concatenate([weight.T for weight in weights], axis=1).T, np.concatenate(biases)
    return np.concatenate(weights), np.concatenate(biases)
