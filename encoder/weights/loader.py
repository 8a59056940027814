"""Weights -> parameters: names brought to one spelling, every tensor accounted for, arrays made fit for the ops.

Reading is lazy and one tensor at a time: memory above the mapped file is what a conversion or a merge needs at that moment.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.dtypes import FLOATS, INTEGERS
from embermill.encoder.weights.source import TensorInfo, WeightSource

log = logging.getLogger(__name__)

MAX_LISTED = 20  # names of tensors in a message, of each kind of problem


class NameTable(NamedTuple):
    """What the parameters of a model are called and shaped.

    shapes: name -> shape, [out, in] for products. prefixes: what may come before every name. spellings: ending -> ending, older names of
    the same thing. ignorable: patterns of what such files hold beside the parameters and we have no use for. integers: those of `shapes`
    that are whole numbers.
    """

    shapes: Mapping[str, tuple[int, ...]]
    prefixes: Sequence[str] = ()
    spellings: Mapping[str, str] = MappingProxyType({})
    ignorable: Sequence[str] = ()
    integers: Sequence[str] = ()


class Parameters:
    """The parameters of a model, read one at a time: `parameters["embeddings.LayerNorm.weight"]` is a float32 array, aligned, of the promised shape.

    integers: names whose arrays are int64 instead.
    """

    def __init__(self, source: WeightSource, names: Mapping[str, str], integers: Sequence[str] = ()) -> None:
        self._source, self._names, self._integers = source, names, integers

    def __getitem__(self, name: str) -> np.ndarray:
        stored = self._source.read(self._names[name])
        return stored.astype(np.int64) if name in self._integers else as_float32(stored)

    @property
    def num_values(self) -> int:
        """Of all parameters together."""
        return sum(prod(self._source.tensors[name].shape) for name in self._names.values())

    def get(self, name: str) -> np.ndarray | None:
        """The parameter, or None where this model has none of that name."""
        return self[name] if name in self._names else None

    def __contains__(self, name: str) -> bool:
        return name in self._names


def match_parameters(source: WeightSource, table: NameTable) -> Parameters:
    """Find every parameter of `table` in `source`, and a place for every tensor of it.

    Raises one WeightsError that lists all that are missing, unexpected, of another shape or not of floating point.
    """
    source = under_hugging_face_names(source)
    found: dict[str, list[str]] = {}
    for stored in source.tensors:
        found.setdefault(_canonical(stored, table), []).append(stored)
    problems = [
        *_listed("missing", (name for name in table.shapes if name not in found)),
        *_listed("unexpected", (stored[0] for name, stored in found.items() if name not in table.shapes and not _is_ignorable(name, table))),
        *_listed("stored more than once", (" = ".join(stored) for name, stored in found.items() if name in table.shapes and len(stored) > 1)),
        *_listed("of another shape", (_misfit(source.tensors[found[name][0]], name, table) for name in table.shapes if name in found)),
    ]
    if problems:
        raise WeightsError(f"does not hold this model's parameters: {'; '.join(problems)}", file=source.path)
    left_out = [stored[0] for name, stored in found.items() if name not in table.shapes]
    if left_out:
        log.info("%s: left out %d tensors that are no part of the encoder: %s", source.path, len(left_out), ", ".join(left_out))
    return Parameters(source, {name: found[name][0] for name in table.shapes}, table.integers)


def under_hugging_face_names(source: WeightSource) -> WeightSource:
    """Weights in Burn's names and orientation as transposed views under Hugging Face's; others as they are."""
    if source.format == "safetensors" and source.metadata.get("producer") != "burn":
        return source
    from embermill.encoder.weights.burn.names import to_hugging_face

    renamed: WeightSource = to_hugging_face(source)
    return renamed


def as_float32(array: np.ndarray) -> np.ndarray:
    """Float32, aligned and in native byte order; the array itself, in the layout in which it is stored, where it is that already.

    A copy keeps the layout too: a transposed view becomes a transposed array, so that no element is moved across rows.
    """
    return np.require(array, np.float32, ["ALIGNED"]) if array.dtype == np.float32 else array.astype(np.float32, order="K")


def _canonical(stored: str, table: NameTable) -> str:
    name = stored
    for prefix in table.prefixes:
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    for old, new in table.spellings.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _is_ignorable(name: str, table: NameTable) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in table.ignorable)


def _misfit(info: TensorInfo, name: str, table: NameTable) -> str:
    """What is wrong with the tensor that is to be the parameter `name`, or nothing."""
    shape = table.shapes[name]
    if info.shape != shape:
        return f"{info.name} {list(info.shape)} instead of {list(shape)}"
    return "" if info.dtype in (INTEGERS if name in table.integers else FLOATS) else f"{info.name} of type {info.dtype}"


def _listed(kind: str, names: Iterable[str]) -> list[str]:
    given = [name for name in names if name]
    more = f" and {len(given) - MAX_LISTED} more" if len(given) > MAX_LISTED else ""
    return [f"{kind} ({len(given)}): {', '.join(given[:MAX_LISTED])}{more}"] if given else []
