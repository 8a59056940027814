"""Our own hidden states, token by token: the planned forward pass of a folder without what pools it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from embermill.encoder.backends import get_ops
from embermill.encoder.description import describe
from embermill.encoder.device import choose_device
from embermill.encoder.models import family_of
from embermill.encoder.models.family import Forward
from embermill.encoder.ops.base import Ops
from embermill.encoder.parameters import open_parameters
from embermill.encoder.pipeline.batching import PackedBatch, pack


def hidden_states(folder: Path, documents: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """[L, E] float32 of each document, on a CPU; they are packed together as a job would pack them."""
    ops = get_ops(choose_device("cpu"), "float32", 1)
    model = planned(folder, ops)
    found: list[np.ndarray] = [np.empty(0)] * len(documents)
    for batch in packed(documents, ops):
        x = ops.to_host(model(ops.to_device(batch)))
        for place, start, length in zip(batch.order.tolist(), batch.cu_seqlens.tolist(), batch.lengths.tolist(), strict=False):
            found[place] = x[start : start + length]
    return found


def embeddings(folder: Path, documents: Sequence[Sequence[int]], ops: Ops, pooling: str) -> np.ndarray:
    """[B, E] float32, normalised, by the whole program of any backend."""
    model, pool = planned(folder, ops), ops.segment_pool(pooling)
    program = ops.program(lambda batch: ops.l2_normalize(pool(model(batch), batch)))
    found: dict[int, np.ndarray] = {}
    for batch in packed(documents, ops):
        found |= dict(zip(batch.order.tolist(), np.array(program.submit(batch).result()), strict=True))
    program.close()
    return np.stack([found[index] for index in range(len(documents))])


def planned(folder: Path, ops: Ops) -> Forward:
    description = describe(str(folder))
    config = description.config.transformer
    with open_parameters(description) as parameters:
        return family_of(config.model_type).build(config, parameters, ops)


def packed(documents: Sequence[Sequence[int]], ops: Ops) -> Iterator[PackedBatch]:
    ids = np.concatenate([np.asarray(document, np.int32) for document in documents])
    return pack(ids, np.cumsum([0, *map(len, documents)]), ops.max_batch_tokens, ops.row_block)
