"""BERT as its paper has it, one document at a time in float64: what the planned forward pass is held against where torch is not there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.encoder.tiny_bert import TinyBert


def _erf(x: np.ndarray) -> np.ndarray:
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(x)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / np.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: np.maximum(x, 0),
}


def hidden_states(bert: TinyBert, tensors: dict[str, np.ndarray], ids: list[int]) -> np.ndarray:
    """[S, E] of one document."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred**2).mean(axis=-1, keepdims=True)
        return centred / np.sqrt(variance + bert.eps) * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def product(x: np.ndarray, name: str) -> np.ndarray:
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    x = tensors["embeddings.word_embeddings.weight"][ids] + tensors["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + tensors["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(bert.layers):
        at = f"encoder.layer.{layer}"
        query, key, value = (
            product(x, f"{at}.attention.self.{part}").reshape(len(ids), bert.heads, bert.head_dim).transpose(1, 0, 2) for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(bert.head_dim)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        context = (weights / weights.sum(axis=-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(len(ids), bert.hidden)
        x = norm(product(context, f"{at}.attention.output.dense") + x, f"{at}.attention.output.LayerNorm")
        inner = ACTIVATIONS[bert.activation](product(x, f"{at}.intermediate.dense"))
        x = norm(product(inner, f"{at}.output.dense") + x, f"{at}.output.LayerNorm")
    return x


def pooled(kind: str, x: np.ndarray) -> np.ndarray:
    return {"cls": x[0], "mean": x.mean(axis=0), "max": x.max(axis=0), "last": x[-1]}[kind]
