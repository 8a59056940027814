"""What is in a weight file: the answer to `embermill inspect`, for BERTs and for any other record."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from embermill.encoder.errors import refused_files
from embermill.encoder.weights import NAME_FILE, find_weights, open_weights
from embermill.encoder.weights.burn.burnpack import Burnpack
from embermill.encoder.weights.burn.names import find_architecture
from embermill.encoder.weights.burn.record import BurnRecord
from embermill.encoder.weights.model_folder import transformer_folder
from embermill.encoder.weights.source import WeightSource


@refused_files("inspecting")
def inspect(path: str | Path) -> dict[str, Any]:
    """One JSON object about a weight file (or the one of a model folder), from its header alone.

    format, burn_version (null where the file does not say), era (which releases write files like it), architecture (bert, minilm, masked, st
    or null), layers, metadata, parameters (elements in all), file_bytes, trailing_bytes (behind the last tensor), and tensors: name, shape,
    dtype, bytes (a count) and id of each, in file order. Raises WeightsError, or SourceError for a place that cannot be read.
    """
    path = Path(path)
    file = find_weights(transformer_folder(path), advice=NAME_FILE) if path.is_dir() else path
    source = open_weights(file)
    architecture = find_architecture(source)
    tensors = [{"name": info.name, "shape": list(info.shape), "dtype": info.dtype, "bytes": info.num_bytes, "id": info.id} for info in source.tensors.values()]
    return {
        "file": str(file),
        "format": source.format,
        "burn_version": _burn_version(source),
        "era": _era(source),
        "architecture": architecture.mapping if architecture else None,
        "layers": architecture.num_layers if architecture else None,
        "metadata": dict(source.metadata),
        "parameters": sum(prod(info.shape) for info in source.tensors.values()),
        "file_bytes": file.stat().st_size,
        "trailing_bytes": source.trailing_bytes if isinstance(source, BurnRecord | Burnpack) else 0,
        "tensors": tensors,
    }


def _burn_version(source: WeightSource) -> str | None:
    """The version in the file's own words; a burnpack of Burn >= 0.22 has none."""
    if source.format == "safetensors" and source.metadata.get("producer") != "burn":
        return None
    return source.metadata.get("version")


def _era(source: WeightSource) -> str | None:
    """Which releases of Burn lay a file out like this one."""
    if isinstance(source, Burnpack):
        return "Burn >= 0.20 (aligned to 256)" if source.aligned else "Burn 0.19 (packed without gaps)"
    if not isinstance(source, BurnRecord):
        return None
    if any(leaf.scalars for _, leaf in source.leaves.values()):
        return "Burn 0.12-0.13 (a number per element)" if "_b" in source.tree else "Burn 0.7-0.11 (a number per element, no _b)"
    lengths = {len(info.id) for info in source.tensors.values() if info.id is not None}
    return "Burn 0.14 (bytes, ids of 10 characters)" if lengths == {10} else "Burn 0.15-0.21 (bytes)"
