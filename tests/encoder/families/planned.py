"""Our own hidden states, token by token: the planned forward pass of a folder without what pools it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from embermill.encoder.backends import get_ops
from embermill.encoder.description import describe
from embermill.encoder.device import choose_device
from embermill.encoder.models import family_of
from embermill.encoder.parameters import open_parameters
from embermill.encoder.pipeline.batching import pack


def hidden_states(folder: Path, documents: Sequence[Sequence[int]], device: str = "cpu", precision: str = "float32") -> list[np.ndarray]:
    """[L, E] float32 of each document; they are packed together as a job would pack them."""
    description = describe(str(folder))
    ops = get_ops(choose_device(device), precision, 1)
    config = description.config.transformer
    with open_parameters(description) as parameters:
        model = family_of(config.model_type).build(config, parameters, ops)
    ids = np.concatenate([np.asarray(document, np.int32) for document in documents])
    offsets = np.cumsum([0, *map(len, documents)])
    found: list[np.ndarray] = [np.empty(0)] * len(documents)
    for batch in pack(ids, offsets, ops.max_batch_tokens, ops.row_block):
        x = ops.to_host(model(ops.to_device(batch)))
        for place, start, length in zip(batch.order.tolist(), batch.cu_seqlens.tolist(), batch.lengths.tolist(), strict=False):
            found[place] = x[start : start + length]
    return found
