"""Weight files of every format behind one face, recognised by their content and never by their suffix.

    find_weights(folder)   the weight file of a model folder
    open_weights(path)     that file as a WeightSource
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.source import TensorInfo, WeightSource

__all__ = ["TensorInfo", "WeightSource", "find_weights", "open_weights"]

log = logging.getLogger(__name__)

INDEX = ".index.json"
SUFFIXES = (".safetensors", ".safetensors.index.json", ".mpk", ".mpk.gz", ".bpk")
# What to do where a folder holds several weight files, for whoever can say which one, and for whoever cannot.
SAY_WHICH = "say which one: weights= in Python, --weights on the command line, model.weights in a job's configuration"
NAME_FILE = "name one of them in place of the folder, or move the others away"
MOVE_OTHERS = "move the others away"
_CODE_BEARING = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


def find_weights(folder: Path, name: str | None = None, *, advice: str = SAY_WHICH) -> Path:
    """The folder's one weight file (the index, where it is sharded), or the one called `name`. Raises WeightsError where there are none or several.

    advice: what the caller's user can do where there are several.
    """
    if name is not None:
        chosen = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise WeightsError("expected the name of a file inside the model's folder", file=str(chosen))
        if not chosen.is_file():
            there = ", ".join(sorted(path.name for path in _candidates(folder))) or "no weights"
            raise WeightsError(f"no such file; the folder holds {there}", file=str(chosen))
        return chosen
    candidates = _candidates(folder)
    if len(candidates) > 1:
        names = ", ".join(sorted(path.name for path in candidates))
        raise WeightsError(f"several weight files: {names}; {advice}", file=str(folder))
    if not candidates:
        others = sorted(path.name for path in folder.iterdir() if path.suffix in _CODE_BEARING)
        hint = f"; {', '.join(others)} cannot be used, since such files may run code: save the model as safetensors" if others else ""
        raise WeightsError(f"no weight file; expected one ending in {', '.join(SUFFIXES)}{hint}", file=str(folder))
    return candidates[0]


def weight_files(path: Path) -> list[Path]:
    """Every file that holds these weights: the file itself, or an index and its shards."""
    if not path.name.endswith(".json"):
        return [path]
    from embermill.encoder.weights.safetensors.sharded import read_index

    return [path, *sorted({path.parent / shard for shard in read_index(str(path)).values()})]


def open_weights(path: str | Path) -> WeightSource:
    """Open a weight file: SafeTensors, a sharded index, a Burn record (.mpk, .mpk.gz) or a burnpack (.bpk), whatever its name. Raises WeightsError."""
    path = str(path)
    kind = _recognise(path)
    if kind == "safetensors":
        from embermill.encoder.weights.safetensors.file import SafetensorsFile

        return SafetensorsFile(path)
    if kind == "index":
        from embermill.encoder.weights.safetensors.sharded import ShardedSafetensors

        return ShardedSafetensors(path)
    if kind == "burnpack":
        from embermill.encoder.weights.burn.burnpack import open_burnpack

        return open_burnpack(path)
    from embermill.encoder.weights.burn.record import open_burn_record

    return open_burn_record(path)


def _candidates(folder: Path) -> list[Path]:
    """Weight files by name; shards that an index names belong to the index. A whole file goes before an index of the same name, as in transformers."""
    found = [path for path in folder.iterdir() if path.name.endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()]
    indexes = [path for path in found if path.name.endswith(".json")]
    whole_of = {index: whole for index in indexes if (whole := index.with_name(index.name.removesuffix(INDEX))) in found}
    shards_of = {index: _shards_of(index, may_be_broken=index in whole_of) for index in indexes}
    stale = [index for index, whole in whole_of.items() if whole not in shards_of[index]]
    for index in stale:
        log.warning("%s: left out, since %s holds all the weights; delete whichever is not wanted", index, index.name.removesuffix(INDEX))
    shards = {shard for named in shards_of.values() for shard in named}
    return [path for path in found if path not in shards and path not in stale]


def _shards_of(index: Path, may_be_broken: bool) -> set[Path]:
    """The files that an index names. WeightsError for one that cannot be read, unless nobody will use it."""
    try:
        return set(weight_files(index)) - {index}
    except WeightsError:
        if may_be_broken:
            return set()
        raise


def _recognise(path: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            head, size = stream.read(16), stream.seek(0, 2)
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}", file=path) from None
    if not size:
        raise WeightsError("the file is empty, as after a download that broke off; expected safetensors, its index, .mpk, .mpk.gz or .bpk", file=path)
    if head[:4] == b"NRUB":
        return "burnpack"
    if head[:2] == b"\x1f\x8b":
        return "burn record"
    if head[:2] == b"PK" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05"):
        raise WeightsError("this is a pickle (PyTorch's own format), which may run code and is never loaded; save the model as safetensors", file=path)
    if len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= max(size, 1 << 32):
        return "safetensors"
    if head[:1] == b"{" and _is_index(path):
        return "index"
    if len(head) > 1 and ((0x81 <= head[0] <= 0x8F and 0xA1 <= head[1] <= 0xDB) or head[0] in (0xDE, 0xDF)):  # a MessagePack map, its first key a string
        return "burn record"
    if path.endswith(".safetensors"):
        return "safetensors"  # its reader says what is wrong
    raise WeightsError(f"not a weight file that we know (begins with {head[:8].hex(' ')}); expected safetensors, its index, .mpk, .mpk.gz or .bpk", file=path)


def _is_index(path: str) -> bool:
    try:
        return "weight_map" in json.loads(Path(path).read_bytes())
    except (ValueError, TypeError):
        return False
