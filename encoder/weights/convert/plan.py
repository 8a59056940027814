"""What a conversion will write: which tensors, under which names, of which type; decided before anything is written."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embermill.counts import several
from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.burn.burnpack_writer import write_burnpack
from embermill.encoder.weights.burn.ids import derived_id, id_text, id_value
from embermill.encoder.weights.burn.layouts import LAYOUTS, Layout, Place, places
from embermill.encoder.weights.burn.names import HEAD, Architecture
from embermill.encoder.weights.burn.record_tensor import TensorToWrite
from embermill.encoder.weights.burn.record_writer import write_record
from embermill.encoder.weights.byte_sink import ByteSink
from embermill.encoder.weights.convert.precision import cast
from embermill.encoder.weights.dtypes import FLOATS
from embermill.encoder.weights.safetensors.writer import write_safetensors
from embermill.encoder.weights.source import WeightSource

BURN_VERSION = "0.21.0"  # the last that wrote records; what ours are byte-identical to
GZIP_LEVEL = 6  # Burn's

_SETTINGS = {
    "full": ("f32", "i32", "FullPrecisionSettings"),
    "half": ("half::binary16::f16", "i16", "HalfPrecisionSettings"),
    "double": ("f64", "i64", "DoublePrecisionSettings"),
}
_TIED = f"{HEAD}decoder.weight", "embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class ConversionPlan:
    """canonical: the source under Hugging Face's names. names: each name that is written -> the name that it is read from (itself, unless tied)."""

    canonical: WeightSource
    layout: Layout
    mapping: str
    num_layers: int
    format: str
    alignment: int
    names: dict[str, str]
    types: dict[str, str]
    dropped: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        return sum(self.tensor(name).num_bytes for name in self.names)

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.types.values())))

    def tensor(self, name: str) -> TensorToWrite:
        return TensorToWrite(self.types[name], self.canonical.tensors[self.names[name]].shape, lambda: self.load(name))

    def load(self, name: str) -> np.ndarray:
        """[out, in], of the type in which it is written."""
        return cast(self.canonical.read(self.names[name]), self.types[name], self.canonical.path, name)

    def write(self, target: Path, advance: Callable[[int], None]) -> int:
        """Writes the weight file and returns its size. advance: called with the bytes of each tensor as it is written."""
        with target.open("xb") as stream:
            if self.format == "safetensors":
                self._write_safetensors(stream, advance)
            elif self.format == "bpk":
                metadata = {"format": "burnpack", "producer": "burn", "version": BURN_VERSION}
                write_burnpack(stream, self._leaves(advance), {"metadata": metadata})
            elif self.format == "mpk":
                write_record(stream, self._record(advance), alignment=self.alignment, file=str(target))
            else:
                with gzip.GzipFile(filename="", mode="wb", compresslevel=GZIP_LEVEL, fileobj=stream, mtime=0) as compressed:
                    write_record(compressed, self._record(advance), file=str(target))
            return stream.tell()

    def _write_safetensors(self, sink: ByteSink, advance: Callable[[int], None]) -> None:
        """Hugging Face's names without prefix; those of a masked model as `bert.*` and its head."""
        prefix = "bert." if self.mapping == "masked" else ""
        named = {name if name.startswith(HEAD) else prefix + name: _watched(self.tensor(name), advance) for name in self.names}
        write_safetensors(sink, named, {"format": "pt"})

    def _leaves(self, advance: Callable[[int], None]) -> dict[str, tuple[str, TensorToWrite]]:
        """Burn's path -> id and tensor, in declaration order."""
        ids: dict[int, str] = {}
        found = {}
        for path, place in places(self.layout).items():
            value = id_value(self.canonical.tensors[self.names[place.name]].id or "")
            if value is None or value in ids:
                value = derived_id(path)
            ids[value] = path
            found[path] = id_text(value), _watched(self._placed(place), advance)
        return found

    def _placed(self, place: Place) -> TensorToWrite:
        """A tensor as Burn stores it there: a Linear weight as [in, out]."""
        tensor = self.tensor(place.name)
        return TensorToWrite(tensor.dtype, tensor.shape[::-1], lambda: tensor.load().T) if place.transposed else tensor

    def _record(self, advance: Callable[[int], None]) -> dict[str, Any]:
        """The whole record, as Burn 0.21 nests it."""
        leaves = self._leaves(advance)
        types = set(self.types.values())
        float_name, int_name, settings = _SETTINGS["half" if types == {"F16"} else "double" if "F64" in types else "full"]
        recorder = "NamedMpkGzFileRecorder" if self.format == "mpk.gz" else "NamedMpkFileRecorder"
        metadata = {
            "float": float_name,
            "int": int_name,
            "format": f"burn_core::record::file::{recorder}<burn_core::record::settings::{settings}>",
            "version": BURN_VERSION,
            "settings": settings,
        }
        return {"metadata": metadata, "item": _filled(self.layout, "", leaves), "_b": []}


def plan_conversion(canonical: WeightSource, found: Architecture, format: str, mapping: str, precision: str | None, alignment: int) -> ConversionPlan:
    """Raises a WeightsError that lists every parameter that `mapping` needs and `canonical` lacks."""
    pooler = any(name.startswith("pooler.") for name in canonical.tensors)
    layout = LAYOUTS[mapping](found.num_layers, pooler)
    names = {place.name: place.name for place in places(layout).values()}
    if _TIED[0] in names and _TIED[0] not in canonical.tensors:
        names[_TIED[0]] = _TIED[1]  # transformers leaves out a decoder that is the word embeddings
    missing = [name for name, origin in names.items() if origin not in canonical.tensors]
    missing += [_TIED[0]] * (names.get(_TIED[0]) == _TIED[1] and f"{HEAD}dense.weight" in missing)
    if missing:
        problem = f"the mapping {mapping} lacks {several(len(missing), 'parameter')}: {', '.join(missing)}"
        raise WeightsError(problem, file=canonical.path, tensor=missing[0])
    types = {name: _type(canonical, origin, precision, format) for name, origin in names.items()}
    dropped = tuple(name for name in canonical.tensors if name not in names.values())
    return ConversionPlan(canonical, layout, mapping, found.num_layers, format, alignment, names, types, dropped)


def _type(canonical: WeightSource, name: str, precision: str | None, format: str) -> str:
    stored = canonical.tensors[name].dtype
    if stored not in FLOATS:
        raise WeightsError(f"expected floating-point numbers ({', '.join(FLOATS)}), came {stored}", file=canonical.path, tensor=name)
    if precision is not None:
        return {"full": "F32", "half": "F16"}[precision]
    return "F32" if stored == "BF16" and format.startswith("mpk") else stored  # Burn's record settings know no bfloat16


def _watched(tensor: TensorToWrite, advance: Callable[[int], None]) -> TensorToWrite:
    """`tensor`, reporting its bytes when it is loaded."""

    def load() -> np.ndarray:
        array = tensor.load()
        advance(array.nbytes)
        return array

    return TensorToWrite(tensor.dtype, tensor.shape, load)


def _filled(node: Any, path: str, leaves: dict[str, tuple[str, TensorToWrite]]) -> Any:
    """The layout with a parameter in each place."""
    if isinstance(node, Place):
        id, tensor = leaves[path]
        return {"id": id, "param": tensor}
    if isinstance(node, dict):
        return {key: _filled(child, f"{path}.{key}" if path else key, leaves) for key, child in node.items()}
    if isinstance(node, list):
        return [_filled(child, f"{path}.{index}", leaves) for index, child in enumerate(node)]
    return node
