"""A model whose tensors are spread over several SafeTensors files, as an index beside them says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.safetensors.file import SafetensorsFile
from embermill.encoder.weights.source import TensorInfo


class ShardedSafetensors:
    """Several SafeTensors files as one WeightSource. Index and files must name the same tensors, or it is a WeightsError that lists what differs."""

    format = "safetensors"

    def __init__(self, path: str) -> None:
        self.path = path
        index = read_index(path)
        folder = Path(path).parent
        self._shards = {shard: SafetensorsFile(str(folder / shard)) for shard in sorted(set(index.values()))}
        self._home = index
        lost = sorted(f"{name} ({shard})" for name, shard in index.items() if name not in self._shards[shard].tensors)
        unnamed = sorted(f"{name} ({shard})" for shard, file in self._shards.items() for name in file.tensors if index.get(name) != shard)
        if lost or unnamed:
            parts = [f"not in the shard that the index names: {', '.join(lost)}"] * bool(lost) + [f"not in the index: {', '.join(unnamed)}"] * bool(unnamed)
            raise WeightsError("; ".join(parts), file=path)
        self.metadata: Mapping[str, str] = {key: value for file in self._shards.values() for key, value in file.metadata.items()}
        self.tensors: Mapping[str, TensorInfo] = {name: info for file in self._shards.values() for name, info in file.tensors.items()}

    def read(self, name: str) -> np.ndarray:
        if name not in self._home:
            raise WeightsError(f"no such tensor; the index names {len(self._home)}", file=self.path, tensor=name)
        return self._shards[self._home[name]].read(name)

    def close(self) -> None:
        for file in self._shards.values():
            file.close()


def read_index(path: str) -> dict[str, str]:
    """weight_map of an index file: tensor -> file beside the index. Raises WeightsError."""
    try:
        raw = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise WeightsError(f"not a readable index: {error}", file=path) from None
    index = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(index, dict) or not index or not all(isinstance(shard, str) and Path(shard).name == shard for shard in index.values()):
        raise WeightsError("expected a weight_map of tensors and the files beside the index that hold them", file=path)
    return index
