"""The rest of a model folder: what goes along when its weights are converted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from embermill.encoder.errors import EncoderError

# Weights in any format: they are what is being converted, or copies of it.
_OURS = (".safetensors", ".safetensors.index.json", ".mpk", ".mpk.gz", ".bpk")
_OTHERS = (".bin", ".bin.index.json", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".ot", ".onnx")
_OTHER_RUNTIMES = ("onnx", "openvino", "coreml")  # folders of exports for other runtimes


def transformer_folder(folder: Path) -> Path:
    """Where a model folder keeps its transformer: itself, or the first module of a sentence-transformers folder."""
    try:
        modules = json.loads((folder / "modules.json").read_bytes())
        home = folder / str(modules[0]["path"])
    except FileNotFoundError:
        return folder
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise EncoderError(f"{folder / 'modules.json'}: expected a list of modules with a path each: {error}.") from None
    if not home.resolve().is_relative_to(folder.resolve()):
        raise EncoderError(f"{folder / 'modules.json'}: expected the first module inside the folder, came {home}.")
    return home


def copy_model_folder(source: Path, target: Path, weights: Path) -> Path:
    """Copies what lies beside `weights`, other weights of the transformer left out, and returns the folder in `target` that the weights belong into.

    source: a model folder, or a single weight file, of which only config.json goes along.
    """
    if not source.is_dir():
        config = source.parent / "config.json"
        if config.is_file():
            shutil.copyfile(config, target / config.name)
        return target
    home = weights.parent
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if path.is_file() and target not in path.parents and not any(part.startswith(".") for part in inside.parts) and not _is_left_out(path, source, home):
            (target / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inside)
    destination = target / home.relative_to(source)
    destination.mkdir(parents=True, exist_ok=True)
    return destination


def _is_left_out(path: Path, source: Path, home: Path) -> bool:
    """Weights of the transformer; a Dense module keeps its own."""
    return (path.parent == home and path.name.endswith(_OURS + _OTHERS)) or path.relative_to(source).parts[0] in _OTHER_RUNTIMES
