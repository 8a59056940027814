"""A BERT of a few kilobytes in every format and layout, made by our own writers: for fuzzing, properties, and wherever Burn's files are not at hand."""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np

from embermill.encoder.weights.burn.burnpack_writer import write_burnpack
from embermill.encoder.weights.burn.ids import derived_id, id_text
from embermill.encoder.weights.burn.layouts import LAYOUTS, Layout, Place, places
from embermill.encoder.weights.burn.record_tensor import RecordTensor, TensorToWrite
from embermill.encoder.weights.burn.record_writer import write_record
from embermill.encoder.weights.safetensors.writer import write_safetensors


def tensors(
    num_layers: int = 1, hidden: int = 2, inner: int = 3, vocab: int = 4, *, pooler: bool = True, head: bool = True, seed: int = 0
) -> dict[str, np.ndarray]:
    """Hugging Face name -> float32, [out, in]."""
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    for place in places(LAYOUTS["masked" if head else "bert"](num_layers, pooler)).values():
        found[place.name] = rng.standard_normal(_shape(place.name, hidden, inner, vocab)).astype(np.float32)
    return found


def _shape(name: str, hidden: int, inner: int, vocab: int) -> tuple[int, ...]:
    if name.endswith("_embeddings.weight"):
        return ({"word": vocab, "position": 5, "token_type": 2}[name.split(".")[1].removesuffix("_embeddings")], hidden)
    out_features = inner if ".intermediate." in name else vocab if "decoder" in name else hidden
    in_features = inner if ".output.dense" in name and "attention" not in name else hidden
    is_matrix = name.endswith(".weight") and "LayerNorm" not in name and "layer_norm" not in name
    return (out_features, in_features) if is_matrix else (out_features,)


def record(
    arrays: dict[str, np.ndarray], mapping: str = "bert", num_layers: int = 1, *, scalars: bool = False, alignment: int = 1, dtype: str = "<f4"
) -> bytes:
    """A `.mpk` of today, or, with scalars, one of Burn 0.13."""
    half = dtype == "<f2"
    metadata = {"float": "half::binary16::f16" if half else "f32", "int": "i16" if half else "i32", "format": "x", "version": "0.21.0", "settings": "s"}
    layout = LAYOUTS[mapping](num_layers, "pooler.dense.weight" in arrays)
    sink = io.BytesIO()
    write_record(sink, {"metadata": metadata, "item": _filled(layout, arrays, "", scalars, dtype), "_b": []}, alignment=alignment)
    return sink.getvalue()


def _filled(node: Any, arrays: dict[str, np.ndarray], path: str, scalars: bool, dtype: str) -> Any:
    if isinstance(node, Place):
        array = stored(node, arrays).astype(dtype)
        name = "F16" if dtype == "<f2" else "F32"
        return {"id": id_text(derived_id(path)), "param": RecordTensor(array, name, scalars=scalars)}
    if isinstance(node, dict):
        return {key: _filled(child, arrays, f"{path}.{key}", scalars, dtype) for key, child in node.items()}
    return [_filled(child, arrays, f"{path}.{index}", scalars, dtype) for index, child in enumerate(node)] if isinstance(node, list) else node


def stored(place: Place, arrays: dict[str, np.ndarray]) -> np.ndarray:
    return arrays[place.name].T if place.transposed else arrays[place.name]


def burnpack(arrays: dict[str, np.ndarray], mapping: str = "bert", num_layers: int = 1, *, aligned: bool = True) -> bytes:
    layout: Layout = LAYOUTS[mapping](num_layers, "pooler.dense.weight" in arrays)
    leaves = {path: (id_text(derived_id(path)), RecordTensor.of(stored(place, arrays))) for path, place in places(layout).items()}
    sink = io.BytesIO()
    write_burnpack(sink, leaves, {"metadata": {"format": "burnpack", "producer": "burn"}}, aligned=aligned)
    return sink.getvalue()


def safetensors(arrays: dict[str, np.ndarray]) -> bytes:
    sink = io.BytesIO()
    pending = {name: TensorToWrite("F32", array.shape, lambda array=array: array) for name, array in arrays.items()}  # type: ignore[misc]
    write_safetensors(sink, pending, {"format": "pt"})
    return sink.getvalue()


def every_kind() -> dict[str, bytes]:
    """Suffix-like name -> a whole file, one of each manner of storing."""
    arrays = tensors()
    return {
        "bert.mpk": record(arrays),
        "half.mpk": record(arrays, dtype="<f2"),
        "aligned.mpk": record(arrays, alignment=64),
        "masked.mpk": record(arrays, "masked"),
        "st.mpk": record(arrays, "st"),
        "scalars.mpk": record(arrays, scalars=True),
        "scalar_half.mpk": record(arrays, scalars=True, dtype="<f2"),
        "bert.mpk.gz": gzip.compress(record(arrays), mtime=0),
        "bert.bpk": burnpack(arrays),
        "packed.bpk": burnpack(arrays, "minilm", aligned=False),
        "bert.safetensors": safetensors(arrays),
    }
