"""What shape each parameter of a BERT must have, from a few sizes that the tensors themselves show."""

from __future__ import annotations

import json
from pathlib import Path

from embermill.encoder.errors import WeightsError
from embermill.encoder.models import bert
from embermill.encoder.weights.source import WeightSource


def check_shapes(source: WeightSource, names: list[str], num_layers: int) -> None:
    """Raises one WeightsError that lists each of `names` (Hugging Face's, present in `source`) whose shape does not fit the others."""
    sizes, letters = _sizes(source), bert.shape_letters(num_layers) | bert.BESIDE_THE_ENCODER
    wrong = []
    for name in names:
        expected = [sizes[bert.SIZES[letter]] for letter in letters[name]]
        if list(source.tensors[name].shape) != expected:
            wrong.append(f"{name} {list(source.tensors[name].shape)} instead of {expected}")
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


def model_type_in(config_file: Path) -> str | None:
    """What config.json calls the family; None where there is none, or it does not say."""
    try:
        config = json.loads(config_file.read_bytes())
    except (OSError, ValueError):
        return None
    kind = config.get("model_type") if isinstance(config, dict) else None
    return kind if isinstance(kind, str) else None


def _sizes(source: WeightSource) -> dict[str, int]:
    """config.json's name of each size -> what the first matrix that shows it says."""
    matrices = {name: letters for name, letters in bert.shape_letters(1).items() if len(letters) == 2}
    sizes: dict[str, int] = {}
    for letter, key in bert.SIZES.items():
        name = next(name for name, letters in matrices.items() if letter in letters)
        shape = source.tensors[name].shape
        if len(shape) != 2:
            raise WeightsError(f"expected two dimensions, came {list(shape)}", file=source.path, tensor=name)
        sizes[key] = shape[matrices[name].index(letter)]
    return sizes
