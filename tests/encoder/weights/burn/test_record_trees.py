"""Any tree that Burn could write survives writing and reading, aligned or not, plain or gzipped."""

from __future__ import annotations

import gzip
import io
from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embermill.encoder.weights.burn.gunzip import gunzip
from embermill.encoder.weights.burn.record import read_record, read_tree
from embermill.encoder.weights.burn.record_tensor import RecordTensor
from embermill.encoder.weights.burn.record_writer import write_record

shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
element_types = st.sampled_from(["<f4", "<f8", "<f2", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"])
raw_tensors = hnp.arrays(element_types, shapes).map(RecordTensor.of) | hnp.arrays("<u2", shapes).map(
    lambda bits: RecordTensor.of(bits.view(ml_dtypes.bfloat16))
)
transposed = hnp.arrays("<f4", (3, 5)).map(lambda array: RecordTensor.of(array.T))
scalar_tensors = st.sampled_from([("<f4", "F32"), ("<f8", "F64"), ("<i4", "I32"), ("|b1", "BOOL")]).flatmap(
    lambda kind: hnp.arrays(kind[0], hnp.array_shapes(max_dims=3, max_side=5)).map(lambda array: RecordTensor(array, kind[1], scalars=True))
)
parameters = st.builds(lambda id, tensor: {"id": id, "param": tensor}, st.text(min_size=1, max_size=40), raw_tensors | transposed | scalar_tensors)
constants = (
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | st.floats(width=32).map(np.float32) | st.text() | st.binary(max_size=300)
)
names = st.text(max_size=40) | st.sampled_from(["bytes", "value", "_pad", "weight", "bias", "layers"])
trees = st.recursive(constants | parameters, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(names, inner, max_size=20), max_leaves=40)
records = st.fixed_dictionaries({"metadata": st.dictionaries(st.text(), st.text(), max_size=5), "item": trees, "_b": st.just([])})


def same(left: Any, right: Any) -> bool:
    """Equal in value and in type; NaN equals itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right or (left != left and right != right))


@given(records, st.sampled_from([1, 64, 256, 4096]))
def test_any_record_tree_round_trips(tree: dict[str, Any], alignment: int) -> None:
    sink = io.BytesIO()
    written = write_record(sink, tree, alignment=alignment)
    data = sink.getvalue()
    assert written == len(data)
    again, length = read_tree(data, "tree.mpk")
    assert length == len(data)
    assert same(again, tree)
    for tensor in tensors_of(again):
        assert alignment == 1 or tensor.scalars or (tensor.offset is not None and tensor.offset % alignment == 0)
    resaved = io.BytesIO()
    write_record(resaved, again, alignment=alignment)
    assert resaved.getvalue() == data


@given(st.binary(max_size=5000))
def test_gunzip_undoes_gzip(data: bytes) -> None:
    assert gunzip(gzip.compress(data), "x.mpk.gz") == data


def test_padding_is_right_at_every_distance() -> None:
    """Every remainder modulo 4096, so that each width of the padding's own header occurs, the one that needs a whole step more included."""
    for length in range(4200):
        sink = io.BytesIO()
        write_record(sink, {"item": {"note": "x" * length, "x": {"id": "a", "param": RecordTensor.of(np.ones(3, "<f4"))}}}, alignment=4096)
        record = read_record(sink.getvalue(), "x.mpk")
        offset = record.leaves["x"][1].offset
        assert offset is not None and offset % 4096 == 0
        assert record.trailing_bytes == 0 and record.read("x").tolist() == [1, 1, 1]


def tensors_of(node: Any) -> list[RecordTensor]:
    if isinstance(node, RecordTensor):
        return [node]
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
    return [tensor for child in children for tensor in tensors_of(child)]
