"""What shape each parameter of a BERT must have, from a few sizes that the tensors themselves show."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.burn.names import HEAD
from embermill.encoder.weights.source import WeightSource

# config.json's name -> the tensor and the axis that show the same number
_SIZES = {
    "vocab_size": ("embeddings.word_embeddings.weight", 0),
    "hidden_size": ("embeddings.word_embeddings.weight", 1),
    "max_position_embeddings": ("embeddings.position_embeddings.weight", 0),
    "type_vocab_size": ("embeddings.token_type_embeddings.weight", 0),
    "intermediate_size": ("encoder.layer.0.intermediate.dense.weight", 0),
}
# Hugging Face name -> shape in those numbers; what matches none is a bias or a norm's weight, [hidden_size]
_SHAPES = (
    (r"embeddings\.word_embeddings\.weight", ("vocab_size", "hidden_size")),
    (r"embeddings\.position_embeddings\.weight", ("max_position_embeddings", "hidden_size")),
    (r"embeddings\.token_type_embeddings\.weight", ("type_vocab_size", "hidden_size")),
    (r"encoder\.layer\.\d+\.intermediate\.dense\.weight", ("intermediate_size", "hidden_size")),
    (r"encoder\.layer\.\d+\.intermediate\.dense\.bias", ("intermediate_size",)),
    (r"encoder\.layer\.\d+\.output\.dense\.weight", ("hidden_size", "intermediate_size")),
    (rf"{re.escape(HEAD)}decoder\.weight", ("vocab_size", "hidden_size")),
    (rf"{re.escape(HEAD)}decoder\.bias", ("vocab_size",)),
    (r".*\.(query|key|value|dense)\.weight", ("hidden_size", "hidden_size")),
    (r".*", ("hidden_size",)),
)


def check_shapes(source: WeightSource, names: list[str]) -> None:
    """Raises one WeightsError that lists each of `names` (Hugging Face's, present in `source`) whose shape does not fit the others."""
    sizes = _sizes(source)
    wrong = []
    for name in names:
        expected = _expected(name, sizes)
        if source.tensors[name].shape != expected:
            wrong.append(f"{name} {list(source.tensors[name].shape)} instead of {list(expected)}")
    if wrong:
        hint = "; Linear weights stored as [out, in] (Burn's column layout) are not supported" if any("dense" in text for text in wrong) else ""
        raise WeightsError(f"shapes do not fit together: {', '.join(wrong)}{hint}", file=source.path, tensor=wrong[0].split(" ", 1)[0])


def check_config(source: WeightSource, num_layers: int, config_file: Path) -> None:
    """Raises a WeightsError that lists where the tensors contradict the config.json beside them. A config without these numbers says nothing."""
    try:
        config = json.loads(config_file.read_bytes())
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot be read as JSON: {error}", file=str(config_file)) from None
    found = {**_sizes(source), "num_hidden_layers": num_layers}
    said = config if isinstance(config, dict) else {}
    wrong = [f"{key} is {said[key]} there, {value} in the tensors" for key, value in found.items() if said.get(key, value) != value]
    if wrong:
        raise WeightsError(f"{config_file} belongs to another model: {', '.join(wrong)}", file=source.path)


def _sizes(source: WeightSource) -> dict[str, int]:
    sizes = {}
    for key, (name, axis) in _SIZES.items():
        shape = source.tensors[name].shape
        if len(shape) != 2:
            raise WeightsError(f"expected two dimensions, came {list(shape)}", file=source.path, tensor=name)
        sizes[key] = shape[axis]
    return sizes


def _expected(name: str, sizes: Mapping[str, int]) -> tuple[int, ...]:
    keys = next(keys for pattern, keys in _SHAPES if re.fullmatch(pattern, name))
    return tuple(sizes[key] for key in keys)
