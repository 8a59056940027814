"""A model's parameters: its weight files opened, every tensor accounted for by name and shape. Nothing of them is read until it is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from embermill.encoder.config import DenseConfig
from embermill.encoder.description import ModelDescription
from embermill.encoder.models import family_of
from embermill.encoder.weights import MOVE_OTHERS, find_weights, open_weights
from embermill.encoder.weights.loader import NameTable, Parameters, match_parameters

GZIP_MAGIC = b"\x1f\x8b"


def require_parameters(description: ModelDescription) -> None:
    """WeightsError where a file is no weight file, is cut short, or holds other parameters than config.json promises. It costs the headers alone.

    A gzipped record is passed over: unpacking it is most of the work of loading it.
    """
    if not _is_gzipped(description.weights_file):
        with open_parameters(description):
            pass
    for module in description.head:
        if isinstance(module, DenseConfig):
            with open_dense(module):
                pass


@contextlib.contextmanager
def open_parameters(description: ModelDescription) -> Iterator[Parameters]:
    """The transformer's. Raises WeightsError."""
    config = description.config.transformer
    source = open_weights(description.weights_file)
    try:
        yield match_parameters(source, family_of(config.model_type).name_table(config))
    finally:
        source.close()


@contextlib.contextmanager
def open_dense(module: DenseConfig) -> Iterator[Parameters]:
    """linear.weight [out, in] and, where it has one, linear.bias [out] of a sentence-transformers Dense module. Raises WeightsError."""
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (module.out_features, module.in_features)}
    if module.bias:
        shapes["linear.bias"] = (module.out_features,)
    source = open_weights(find_weights(module.folder, advice=MOVE_OTHERS))
    try:
        yield match_parameters(source, NameTable(shapes))
    finally:
        source.close()


def _is_gzipped(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    except OSError:  # opening the weights will say why
        return False
