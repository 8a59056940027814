"""Damage, on purpose: byte by byte, and by rewriting what the bytes mean."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack  # type: ignore[import-untyped]

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights import open_weights
from embermill.encoder.weights.burn.burnpack import BURNPACK_PREFIX
from embermill.encoder.weights.burn.burnpack_writer import encode_cbor
from embermill.encoder.weights.burn.cbor_walk import CborWalk
from embermill.encoder.weights.burn.names import to_hugging_face
from embermill.encoder.weights.inspect import inspect

Mutation = Callable[[random.Random, bytes], bytes]

# Markers of MessagePack and heads of CBOR that claim much, sizes that overflow, and what a JSON number can be at worst.
_CLAIMS = [
    bytes.fromhex(text)
    for text in ("dfffffffff", "ddffffffff", "dbffffffff", "c6ffffffff", "deffff", "dcffff", "bbffffffffffffffff", "9bffffffffffffffff", "7bffffffff")
]
_NUMBERS = [0, 1, -1, 2, 255, 256, 4095, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
_SCALARS: list[Any] = [
    None,
    True,
    False,
    "",
    "F32",
    "BF16",
    "bytes",
    "value",
    "shape",
    1.5,
    b"",
    b"\0\0\0\0",
    [],
    {},
    {"QFloat": {}},
    {"Bool": "U32"},
    [1, [2, [3]]],
]
_NAMES = [
    "",
    "bytes",
    "value",
    "shape",
    "dtype",
    "param",
    "id",
    "item",
    "metadata",
    "_pad",
    "encoder.layers.0.mha.query.weight",
    "tensors",
    "data_offsets",
    "0",
]


def mutate(rng: random.Random, name: str, data: bytes) -> bytes:
    """`data`, the file `name`, with one to four things wrong."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_mutations(name))(rng, data)
    return data


def _mutations(name: str) -> list[Mutation]:
    by_bytes = [_flip, _overwrite, _cut, _insert, _repeat, _claim]
    if name.endswith(".gz"):
        return [*by_bytes, _inside_gzip, _inside_gzip, _inside_gzip]
    meaning = _record_meaning if name.endswith(".mpk") else _burnpack_meaning if name.endswith(".bpk") else _safetensors_meaning
    return [*by_bytes, *[meaning] * 5]


# --- bytes ----------------------------------------------------------------------------------------------------------------------------


def _flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 3, 20)) if changed else 0):
        changed[_place(rng, len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _overwrite(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, len(data))
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 9))) + data[at + rng.choice((1, 2, 4, 9)) :]


def _cut(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.5:
        return data[: rng.randrange(len(data) + 1)]
    at = _place(rng, len(data))
    return data[:at] + data[at + rng.randrange(1, 300) :]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = _place(rng, len(data))
    return data[:at] + rng.choice((b"\0", b"\x81", b"\x91", b"\xc1", b"\x80", rng.randbytes(5))) * rng.choice((1, 3, 200, 3000)) + data[at:]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    start = _place(rng, len(data))
    return data[:start] + data[start : start + rng.randrange(1, 200)] * rng.choice((2, 3)) + data[start + rng.randrange(200) :]


def _claim(rng: random.Random, data: bytes) -> bytes:
    at, claim = _place(rng, len(data)), rng.choice(_CLAIMS)
    return data[:at] + claim + data[at + rng.choice((0, 1, len(claim))) :]


def _place(rng: random.Random, size: int) -> int:
    """Anywhere, but often near the front, where the headers are."""
    return rng.randrange(max(size, 1)) if rng.random() < 0.6 else min(int(rng.expovariate(1 / 60)), max(size - 1, 0))


# --- meaning --------------------------------------------------------------------------------------------------------------------------


def _inside_gzip(rng: random.Random, data: bytes) -> bytes:
    try:
        plain = gzip.decompress(data)
    except (OSError, EOFError, ValueError, zlib.error):
        return _flip(rng, data)
    return gzip.compress(mutate(rng, "x.mpk", plain), 1, mtime=0)


def _record_meaning(rng: random.Random, data: bytes) -> bytes:
    try:
        tree = msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return _flip(rng, data)
    try:
        return bytes(msgpack.packb(_changed(rng, tree)))
    except (OverflowError, ValueError, TypeError, RecursionError):
        return _flip(rng, data)


def _burnpack_meaning(rng: random.Random, data: bytes) -> bytes:
    try:
        size = BURNPACK_PREFIX.unpack_from(data)[2]
        header = CborWalk(data[10 : 10 + size], "", 0).read()
        changed = encode_cbor(_changed(rng, header))
    except Exception:  # what is damaged already is damaged further
        return _flip(rng, data)
    return data[:6] + len(changed).to_bytes(4, "little") + changed + data[10 + size :]


def _safetensors_meaning(rng: random.Random, data: bytes) -> bytes:
    try:
        size = int.from_bytes(data[:8], "little")
        changed = json.dumps(_changed(rng, json.loads(data[8 : 8 + size])), default=str).encode()
    except (ValueError, RecursionError, TypeError):
        return _flip(rng, data)
    return len(changed).to_bytes(8, "little") + changed + data[8 + size :]


def _changed(rng: random.Random, tree: Any) -> Any:
    """`tree` with one node, found by walking down at random, replaced, removed, renamed, doubled or buried."""
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.1:
        return _other(rng, tree)
    if isinstance(tree, list):
        copy, at = list(tree), rng.randrange(len(tree))
        kind = rng.randrange(5)
        if kind == 0:
            del copy[at]
        elif kind == 1:
            copy.insert(at, copy[at])
        else:
            copy[at] = _changed(rng, copy[at])
        return copy
    key = rng.choice(list(tree))
    kind = rng.randrange(9)
    if kind == 0:
        return {k: v for k, v in tree.items() if k != key}
    if kind == 1:
        return {(rng.choice(_NAMES) if k == key else k): v for k, v in tree.items()}
    if kind == 2:
        other = rng.choice(list(tree))
        return {k: (tree[other] if k == key else tree[key] if k == other else v) for k, v in tree.items()}
    return {k: (_changed(rng, v) if k == key else v) for k, v in tree.items()}


def _other(rng: random.Random, node: Any) -> Any:
    kind = rng.randrange(6)
    if kind == 0:
        for _ in range(rng.choice((1, 5, 20, 150, 400))):
            node = [node] if rng.random() < 0.5 else {"a": node}
        return node
    if kind == 1 and isinstance(node, int):
        return node + rng.choice((-1, 1, 4, 256))
    if kind == 2 and isinstance(node, bytes):
        return node[:-1] if rng.random() < 0.5 else node + b"\0"
    if kind <= 3:
        return rng.choice(_NUMBERS)
    if kind == 4:
        return [rng.choice(_NUMBERS) for _ in range(rng.choice((0, 1, 3, 70)))]
    return rng.choice(_SCALARS)


# --- what must come of it -------------------------------------------------------------------------------------------------------------


def outcome(path: Path) -> str:
    """ "read" or "refused"; anything else that opening, listing and reading every tensor can do is raised."""
    try:
        inspect(path)
        source = open_weights(path)
        for name, info in source.tensors.items():
            array = source.read(name)
            assert array.shape == info.shape and array.nbytes == info.num_bytes, name
        renamed = to_hugging_face(source)
        for name in renamed.tensors:
            renamed.read(name)
    except WeightsError as error:
        assert str(path) in str(error), "the message names the file"
        return "refused"
    return "read"
