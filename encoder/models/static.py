"""Static embeddings: a row for each token and nothing else, as sentence-transformers' StaticEmbedding and model2vec have them.

    embedding = mean of table[mapping[token]] * weights[token]        mapping and weights are newer model2vec's; without them table[token]

Tokens come without special ones, and texts may have any length. A text without tokens has a zero vector: its place is taken by a row of zeros behind
the vocabulary's. Such a folder has no sizes in its configuration; they are those of the table.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from embermill.encoder.errors import WeightsError
from embermill.encoder.models.config_file import ConfigFile
from embermill.encoder.ops.base import Activations, DeviceBatch, Ops
from embermill.encoder.weights import find_weights, open_weights
from embermill.encoder.weights.loader import NameTable, Parameters

TABLE, MAPPING, WEIGHTS = "embedding.weight", "mapping", "weights"
_SPELLINGS = {"embeddings": TABLE}  # model2vec's


class StaticConfig(NamedTuple):
    """rows: of the table; vocab_size: tokens, more than rows where several tokens share one."""

    model_type: str
    hidden_size: int
    vocab_size: int
    rows: int
    has_mapping: bool
    has_weights: bool

    @property
    def position_limit(self) -> None:
        return None

    def fingerprint(self) -> dict[str, object]:
        return {"model_type": "static", "hidden_size": self.hidden_size, "vocab_size": self.vocab_size}


def read_config(file: ConfigFile) -> StaticConfig:
    """Whatever config.json says of how the table was made means nothing here."""
    shapes = _shapes(file.path.parent)
    table = next((shapes[name] for name in (TABLE, *_SPELLINGS) if name in shapes), ())
    if len(table) != 2:
        raise file.refuse(f"expected a table of token vectors beside it, {TABLE} or {', '.join(_SPELLINGS)}, got {', '.join(shapes) or 'no tensors'}.")
    rows, hidden_size = table
    vocab_size = shapes[MAPPING][0] if MAPPING in shapes else rows
    return StaticConfig("model2vec", hidden_size, vocab_size, rows, MAPPING in shapes, WEIGHTS in shapes)


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    source = open_weights(find_weights(folder))
    try:
        return {name: info.shape for name, info in source.tensors.items()}
    finally:
        source.close()


def name_table(config: StaticConfig) -> NameTable:
    shapes: dict[str, tuple[int, ...]] = {TABLE: (config.rows, config.hidden_size)}
    if config.has_mapping:
        shapes[MAPPING] = (config.vocab_size,)
    if config.has_weights:
        shapes[WEIGHTS] = (config.vocab_size,)
    return NameTable(shapes, spellings=_SPELLINGS, integers=(MAPPING,))


def build(config: StaticConfig, parameters: Parameters, ops: Ops) -> Static:
    return Static(config, parameters, ops)


class Static:
    """The rows of a document's tokens; pooling makes the mean of them."""

    def __init__(self, config: StaticConfig, parameters: Parameters, ops: Ops) -> None:
        table = parameters[TABLE]
        if config.has_mapping:
            rows = parameters[MAPPING]
            if rows.size and (rows.min() < 0 or rows.max() >= len(table)):
                raise WeightsError(f"expected rows from 0 to {len(table) - 1} of {TABLE}, got {rows.min()} to {rows.max()}", tensor=MAPPING)
            table = table[rows]
        if config.has_weights:
            table = table * parameters[WEIGHTS][:, None]
        self.embed = ops.embed(np.concatenate([table, np.zeros((1, config.hidden_size), np.float32)]))

    def __call__(self, batch: DeviceBatch) -> Activations:
        return self.embed(batch)
