"""Reads Burn's named MessagePack records, `.mpk` and `.mpk.gz`, of every release that wrote them (0.7 to 0.21).

Layout, from Burn's source: a map {metadata: five strings, item: the module tree, _b: [] from 0.12 on}. A module is a map in declaration order,
a list of modules an array, a constant nil, a parameter {id, param: tensor}. A tensor is {bytes, shape, dtype} from 0.14 on and
{value: [a number per element], shape} before. Headers are walked; tensors are views of the mapped file until asked for.
"""

from __future__ import annotations

from struct import error as StructError
from typing import Any

import numpy as np

from embermill.encoder.errors import WeightsError
from embermill.encoder.weights.burn import msgpack_walk as mp
from embermill.encoder.weights.burn.msgpack_walk import MsgpackWalk
from embermill.encoder.weights.burn.record_tensor import RecordTensor, is_shape, shape_text, stored_type, view
from embermill.encoder.weights.burn.tensor_source import LeafSource
from embermill.encoder.weights.dtypes import element_dtype
from embermill.encoder.weights.mapped_file import Buffer, map_file

Node = Any  # None | bool | int | float | numpy.float32 | str | bytes | list[Node] | dict[str, Node] | RecordTensor

MAX_DEPTH = 128  # Burn's own decoder stops at 1,024; no module is nested that deep
MAX_NODES = 1_000_000  # values outside tensor data; a BERT-base has about 3,000

NIL_MARKER = 0xC0
GZIP_MAGIC = b"\x1f\x8b"

_HALF = {"half::binary16::f16": "F16", "half::bfloat::bf16": "BF16"}  # metadata.float -> what integer elements are the bits of


class BurnRecord(LeafSource):
    """An open record; its tensors have Burn's paths for names ("encoder.layers.0.mha.query.weight").

    tree: the whole file, {"metadata": ..., "item": ..., "_b": ...}, with a RecordTensor at each leaf.
    trailing_bytes: what follows the record (Burn ignores it, and so do we).
    """

    def __init__(self, tree: dict[str, Node], path: str, format: str, trailing_bytes: int = 0) -> None:
        metadata = tree.get("metadata")
        strings = {key: value for key, value in metadata.items() if isinstance(value, str)} if isinstance(metadata, dict) else {}
        super().__init__(path, format, strings, {})
        self.tree, self.trailing_bytes = tree, trailing_bytes
        self._collect(tree["item"], [], None)

    def _collect(self, node: Node, path: list[str], id: str | None) -> None:
        """Names every tensor under `node`."""
        if isinstance(node, RecordTensor):
            name = ".".join(path)
            if name in self.leaves:
                raise WeightsError("two tensors have this name", file=self.path, offset=node.offset, tensor=name)
            self.leaves[name] = id, node
        elif isinstance(node, dict):
            if isinstance(node.get("param"), RecordTensor) and isinstance(node.get("id"), str):
                self._collect(node["param"], path, node["id"])
                return
            for key, child in node.items():
                self._collect(child, [*path, key], None)
        elif isinstance(node, list):
            for index, child in enumerate(node):
                self._collect(child, [*path, str(index)], None)


def open_burn_record(path: str) -> BurnRecord:
    """The record in `path`, plain or gzipped (told by content). Raises WeightsError naming file, offset and tensor."""
    data = map_file(path)
    if data[:2] == GZIP_MAGIC:
        from embermill.encoder.weights.burn.gunzip import gunzip

        return read_record(gunzip(data, path), path, "mpk.gz")
    return read_record(data, path, "mpk")


def read_record(data: Buffer, path: str, format: str = "mpk") -> BurnRecord:
    """The record at the start of `data`. path: for messages."""
    tree, length = read_tree(data, path)
    if not isinstance(tree, dict) or "item" not in tree:
        found = f"a map of {sorted(tree)[:8]}" if isinstance(tree, dict) else f"a {type(tree).__name__}"
        raise WeightsError(f"not a Burn record: expected a map with metadata and item, came {found}", file=path, offset=0)
    return BurnRecord(tree, path, format, len(data) - length)


def read_tree(data: Buffer, path: str) -> tuple[Node, int]:
    """The value at the start of `data`, tensors as RecordTensor, and the bytes that it takes."""
    reader = _RecordReader(data, path)
    return reader.read(), reader.walk.pos


class _RecordReader:
    """Builds the tree in one pass."""

    def __init__(self, data: Buffer, file: str) -> None:
        self.walk, self.file = MsgpackWalk(data, file), file
        self.path: list[str] = []
        self.nodes_left = MAX_NODES
        self.float_type = ""  # "F16" or "BF16" where the metadata say that integers are the bits of such numbers
        self.learned_late = False  # the metadata came after the item

    def read(self) -> Node:
        try:
            tree = self.node()
            if self.learned_late:
                self.walk.pos, self.nodes_left = 0, MAX_NODES
                tree = self.node()
            return tree
        except (IndexError, StructError):
            problem = self.walk.ends_early()
        except WeightsError as error:
            problem = error
        raise WeightsError(problem.problem, file=self.file, offset=problem.offset, tensor=problem.tensor or self.name())

    def name(self) -> str:
        """Burn's path of where we are; the wrapping that every record has is left out."""
        path = self.path[1:] if self.path[:1] == ["item"] else self.path
        while path and path[-1] in ("param", "bytes", "value", "shape", "dtype", "_pad", "id"):
            path = path[:-1]
        return ".".join(path)

    def fail(self, problem: str, offset: int | None = None) -> WeightsError:
        return WeightsError(problem, file=self.file, offset=self.walk.pos if offset is None else offset, tensor=self.name())

    def node(self) -> Node:
        walk = self.walk
        start = walk.pos
        kind, value = walk.head()
        if kind == mp.MAP:
            return self.map(value)
        if kind == mp.TEXT:
            return walk.text(value)
        if kind == mp.ARRAY:
            return self.array(value)
        if kind == mp.BYTES:
            begin = walk.pos
            walk.skip(value, "a byte string")
            return bytes(walk.data[begin : walk.pos])
        if kind == mp.FLOAT32:
            return np.float32(value)
        if kind == mp.FOREIGN:
            raise self.fail(f"the marker {walk.data[start]:#04x} is not one that Burn writes; the file is damaged or is not a Burn record", start)
        return value

    def enter(self, count: int, values: int, what: str) -> None:
        """Accounts for a container of `count` entries before anything is allocated for them."""
        self.walk.expect_values(values, what)
        self.nodes_left -= count
        if self.nodes_left < 0:
            raise self.fail(f"more than {MAX_NODES:,} values outside tensor data; this is no model record")
        if len(self.path) >= MAX_DEPTH:
            raise self.fail(f"nested more than {MAX_DEPTH} deep; this is no model record")

    def array(self, count: int) -> list[Node]:
        self.enter(count, count, "an array")
        nodes = []
        for index in range(count):
            self.path.append(str(index))
            nodes.append(self.node())
            self.path.pop()
        return nodes

    def map(self, count: int) -> Node:
        start = self.walk.pos
        self.enter(count, 2 * count, "a map")
        walk, path = self.walk, self.path
        fields: dict[str, Node] = {}
        for _ in range(count):
            at = walk.pos
            key = walk.field()
            if key in fields:
                raise self.fail(f"the field {key!r} comes twice", at)
            if walk.data[walk.pos] == NIL_MARKER:  # half of all fields are constants
                fields[key] = None
                walk.pos += 1
                continue
            path.append(key)
            if key == "bytes" or key == "value" or key == "_pad":
                fields[key] = self.payload(key)
            else:
                fields[key] = self.node()
                if key == "metadata" and len(path) == 1:
                    self.learn_float_type(fields)
            path.pop()
        if "shape" in fields or "bytes" in fields or "value" in fields or "_pad" in fields:
            return self.tensor(fields, start)
        return fields

    def learn_float_type(self, fields: dict[str, Node]) -> None:
        """Takes from the metadata what integer elements mean."""
        metadata = fields["metadata"]
        name = metadata.get("float") if isinstance(metadata, dict) else None
        found = _HALF.get(name, "") if isinstance(name, str) else ""
        self.learned_late = found != self.float_type and "item" in fields
        self.float_type = found

    def payload(self, key: str) -> Node:
        """What a tensor's data look like: a _Span for bytes, an array for scalars; anything else is an ordinary value."""
        walk = self.walk
        start = walk.pos
        kind, count = walk.head()
        if kind == mp.BYTES:
            begin = walk.pos
            walk.skip(count, "a byte string")
            return _Span(begin, count)
        if kind == mp.ARRAY:
            from embermill.encoder.weights.burn.number_array import read_scalars  # Burn < 0.14

            walk.expect_values(count, "an array")
            begin = walk.pos
            scalars = read_scalars(walk, count, self.float_type)
            if scalars is not None:
                return _Scalars(begin, scalars)
        walk.pos = start
        return self.node()

    def tensor(self, fields: dict[str, Node], start: int) -> Node:
        """The tensor that these fields describe, or, where they describe none, the fields as they are."""
        data, shape = fields.get("bytes"), fields.get("shape")
        if data is not None and "dtype" in fields and "shape" in fields:
            return self.raw_tensor(data, shape, fields["dtype"], start)
        scalars = fields.get("value")
        if isinstance(scalars, _Scalars) and is_shape(shape):
            return self.scalar_tensor(scalars, shape)
        if isinstance(scalars, list) and is_shape(shape) and self.path[-1:] == ["param"]:
            raise self.fail("the tensor's elements are not all numbers of one kind", start)
        if self.path[-1:] == ["param"] and fields.keys() & {"bytes", "value", "shape", "dtype"}:
            raise self.fail(f"expected a tensor (bytes, shape and dtype, or value and shape), came the fields {sorted(fields)[:8]}", start)
        return {key: self.plain(value) for key, value in fields.items()}

    def raw_tensor(self, data: Node, shape: Any, spelling: Any, start: int) -> RecordTensor:
        name = self.name()
        if isinstance(data, _Span):
            dtype = stored_type(spelling, self.file, data.offset, name)
            array = view(self.walk.data, data.offset, data.length, dtype, shape, self.file, name)
            return RecordTensor(array, dtype, spelling=spelling, offset=data.offset)
        if isinstance(data, _Scalars) and data.array.dtype.kind in "iu" and ((data.array >= 0) & (data.array <= 255)).all():
            raw = data.array.astype("|u1").tobytes()  # git builds of June 2024 wrote the bytes as an array of numbers
            dtype = stored_type(spelling, self.file, data.offset, name)
            return RecordTensor(view(raw, 0, len(raw), dtype, shape, self.file, name), dtype, spelling=spelling, offset=data.offset)
        raise self.fail("the tensor's bytes are not a byte string", start)

    def scalar_tensor(self, scalars: _Scalars, shape: list[int]) -> RecordTensor:
        array, bits = scalars.array, self.float_type
        try:
            shaped = array.reshape(shape)
        except (ValueError, OverflowError):
            needed = f"shape {shape_text(shape)} does not fit the {array.size:,} elements that are stored"
            raise self.fail(needed, scalars.offset) from None
        if bits and array.dtype.str == "<u2":
            return RecordTensor(shaped.view(element_dtype(bits)), bits, scalars=True, offset=scalars.offset)
        name = {"f4": "F32", "f8": "F64", "i2": "I16", "i4": "I32", "i8": "I64", "b1": "BOOL"}[array.dtype.str[1:]]
        return RecordTensor(shaped, name, scalars=True, offset=scalars.offset)

    def plain(self, value: Node) -> Node:
        """A field that looked like tensor data and belongs to no tensor."""
        if isinstance(value, _Span):
            return bytes(self.walk.data[value.offset : value.offset + value.length])
        if isinstance(value, _Scalars):
            self.enter(value.array.size, 0, "an array")
            return list(value.array.astype("<f4")) if value.array.dtype.str == ">f4" else value.array.tolist()
        return value


class _Span:
    """A byte string, by place."""

    __slots__ = ("length", "offset")

    def __init__(self, offset: int, length: int) -> None:
        self.offset, self.length = offset, length


class _Scalars:
    """An array of numbers of one kind, and where it began."""

    __slots__ = ("array", "offset")

    def __init__(self, offset: int, array: np.ndarray) -> None:
        self.offset, self.array = offset, array
