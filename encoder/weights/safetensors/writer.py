"""Writes SafeTensors a tensor at a time, in the order and spelling of the `safetensors` library.

The library's own writer wants every tensor in memory at once and then makes a second copy of all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from embermill.encoder.weights.burn.record_tensor import TensorToWrite
from embermill.encoder.weights.byte_sink import ByteSink
from embermill.encoder.weights.dtypes import element_dtype, raw_bytes


def write_safetensors(sink: ByteSink, tensors: Mapping[str, TensorToWrite], metadata: Mapping[str, str]) -> int:
    """Writes `tensors` by name and returns the bytes written. Wide types come first, so that each tensor is aligned for its type."""
    order = sorted(tensors, key=lambda name: (-element_dtype(tensors[name].dtype).itemsize, name))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in order:
        tensor = tensors[name]
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [end, end + tensor.num_bytes]}
        end += tensor.num_bytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    sink.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        sink.write(raw_bytes(tensors[name].load()))
    return 8 + len(text) + end
