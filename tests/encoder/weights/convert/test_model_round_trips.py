"""Any BERT that fits a mapping survives conversion through every pair of formats."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.encoder.weights import open_weights
from embermill.encoder.weights.burn.layouts import LAYOUTS, places
from embermill.encoder.weights.burn.record_tensor import TensorToWrite
from embermill.encoder.weights.convert.convert import convert, under_canonical_names
from embermill.encoder.weights.dtypes import dtype_name, raw_bytes
from embermill.encoder.weights.safetensors.writer import write_safetensors
from tests.encoder.weights.tiny_bert import tensors

PAIRS = list(itertools.product(("mpk", "mpk.gz", "bpk", "safetensors"), repeat=2))

models = st.builds(
    tensors,
    num_layers=st.integers(1, 3),
    hidden=st.integers(1, 5),
    inner=st.integers(1, 7),
    vocab=st.integers(1, 9),
    pooler=st.booleans(),
    head=st.just(True),
    seed=st.integers(0, 1 << 32),
)
types = st.sampled_from([np.dtype("<f4"), np.dtype("<f2"), np.dtype("<f8"), np.dtype(ml_dtypes.bfloat16)])


def write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as sink:
        pending = {name: TensorToWrite(dtype_name(array.dtype), array.shape, lambda array=array: array) for name, array in arrays.items()}  # type: ignore[misc]
        write_safetensors(sink, pending, {"format": "pt"})


@pytest.mark.parametrize("mapping", LAYOUTS)
@given(model=models, dtype=types, pair=st.sampled_from(PAIRS), alignment=st.sampled_from([None, 64, 4096]))
@settings(max_examples=20, deadline=None)
def test_every_pair_of_formats(mapping: str, model: dict[str, np.ndarray], dtype: np.dtype, pair: tuple[str, str], alignment: int | None) -> None:
    num_layers = sum(name.endswith(".attention.self.query.bias") for name in model)
    kept = {place.name for place in places(LAYOUTS[mapping](num_layers, "pooler.dense.weight" in model)).values()}
    expected = {name: array.astype(dtype) for name, array in model.items()}
    with tempfile.TemporaryDirectory() as folder:
        source, first, second = Path(folder) / "source.safetensors", Path(folder) / f"first.{pair[0]}", Path(folder) / f"second.{pair[1]}"
        write(source, expected)
        convert(source, first, mapping=mapping, align=alignment if pair[0] == "mpk" else None)
        report = convert(first, second, mapping=mapping, align=alignment if pair[1] == "mpk" else None)
        assert report.tensors == len(kept) and not report.dropped
        found = under_canonical_names(open_weights(second))
        assert set(found.tensors) == kept
        widened = dtype_name(dtype) == "BF16" and any(format.startswith("mpk") for format in pair)  # a record has no bfloat16
        for name in kept:
            array = found.read(name)
            assert array.shape == expected[name].shape
            assert raw_bytes(array) == raw_bytes(expected[name].astype(np.float32) if widened else expected[name])
