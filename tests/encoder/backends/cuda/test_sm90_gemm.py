"""gemm_wgmma against a float32 product: odd numbers of rows, every tile, nothing written outside, the same bits for every T."""

from __future__ import annotations

import numpy as np
import pytest

from embermill.encoder.ops.rotary import DynamicNtk, Rotary, inverse_frequencies
from embermill.encoder.pipeline.batching import pack
from tests.encoder.backends.cuda.a_gpu import LIMITS, a_gpu, fresh_random, relative_error

TILES = [(256, 4, 2), (256, 4, 1), (128, 6, 2), (192, 5, 2)]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_product_with_gelu(precision: str, tile: tuple[int, ...]) -> None:
    device = a_gpu("sm_90")
    import cupy as cp

    from embermill.encoder.backends.cuda.ops import CudaOps
    from embermill.encoder.backends.cuda.sm90_gemm import After, HopperGemm, Tile
    from embermill.encoder.backends.cupy.ops import STORAGES

    random, ops = fresh_random(), CudaOps(device, precision)
    for inputs, outputs in ((64, 768), (384, 1536), (768, 3072), (1024, 4096)):
        if outputs % tile[0]:
            continue
        weight = random.standard_normal((outputs, inputs), dtype=np.float32) * np.float32(inputs**-0.5)
        bias = cp.asarray(random.standard_normal(outputs, dtype=np.float32))
        stored = ops.from_host(weight)
        gemm = HopperGemm(
            stored.data.ptr, bias.data.ptr, outputs, inputs,
            precision=precision, storage=STORAGES[precision], after=After(1), multiprocessors=device.compute_units, tile=Tile(*tile),
        )  # fmt: skip
        x = ops.from_host(random.standard_normal((3000, inputs), dtype=np.float32))
        seen = None
        for rows in (1, 64, 127, 256, 2999):
            out = cp.full((3000, outputs), 0x7E7E, cp.uint16)  # NaN in both types
            gemm(x.data.ptr, out.data.ptr, rows, cp.cuda.get_current_stream().ptr)
            cp.cuda.Device().synchronize()
            assert (out[rows:] == 0x7E7E).all(), "wrote past its rows"
            bits = cp.asnumpy(out[:rows])
            seen = bits[:1] if seen is None else seen
            assert (bits[:1] == seen).all(), "a row's bits depend on the number of rows"
            got = ops.to_host(out[:rows].view(ops.stored))
            product = ops.to_host(x[:rows]) @ ops.to_host(stored).T + cp.asnumpy(bias)
            expected = 0.5 * product * (1 + _erf(product / np.sqrt(2)))
            assert relative_error(got, expected) < LIMITS[precision]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize(("inner", "inputs", "activation", "with_bias"), [(1152, 768, "gelu", False), (3072, 768, "silu", False), (200, 128, "gelu_new", True)])
def test_gated_product(precision: str, inner: int, inputs: int, activation: str, with_bias: bool) -> None:
    device = a_gpu("sm_90")
    from embermill.encoder.backends.cuda.ops import CudaOps
    from embermill.encoder.ops.reference import ReferenceOps

    random, ops = fresh_random(), CudaOps(device, precision)
    gate, up = (random.standard_normal((inner, inputs), dtype=np.float32) * np.float32(inputs**-0.5) for _ in range(2))
    biases = tuple(random.standard_normal(inner, dtype=np.float32) if with_bias else None for _ in range(2))
    x = ops.from_host(random.standard_normal((3000, inputs), dtype=np.float32))
    gate, up = (ops.to_host(ops.from_host(part)) for part in (gate, up))
    gated = ops.glu(gate, up, *biases, activation)  # type: ignore[call-arg, arg-type]
    expected = ReferenceOps().glu(gate, up, *biases, activation)(ops.to_host(x).astype(np.float64))  # type: ignore[call-arg, arg-type]
    seen = None
    for rows in (1, 64, 127, 256, 2999):
        _poison()
        got = ops.to_host(gated(x[:rows]))
        seen = got[:1] if seen is None else seen
        assert (got[:1] == seen).all(), "a row's bits depend on the number of rows"
        assert relative_error(got, expected[:rows]) < LIMITS[precision]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("dynamic", [None, DynamicNtk(1000.0, 2.0, 100)], ids=["fixed", "dynamic"])
@pytest.mark.parametrize(("num_heads", "head_dim", "with_bias"), [(12, 64, False), (5, 64, True), (12, 32, False), (6, 128, False)])
def test_queries_and_keys_turned_inside_the_product(precision: str, dynamic: DynamicNtk | None, num_heads: int, head_dim: int, with_bias: bool) -> None:
    device = a_gpu("sm_90")
    from embermill.encoder.backends.cuda.ops import CudaOps
    from embermill.encoder.ops.reference import rotate

    random, ops, width = fresh_random(), CudaOps(device, precision), num_heads * head_dim
    weight = ops.to_host(ops.from_host(random.standard_normal((3 * width, width), dtype=np.float32) * np.float32(width**-0.5)))
    bias, rotary = random.standard_normal(3 * width, dtype=np.float32) if with_bias else None, Rotary(inverse_frequencies(1000.0, head_dim), dynamic)
    lengths = [1, 100, 101, 7, 300]
    (batch,) = pack(np.zeros(sum(lengths), np.int32), np.cumsum([0, *lengths]), 10**6)
    x = random.standard_normal((batch.num_rows, width), dtype=np.float32)
    stored = ops.from_host(x)
    _poison()
    got = ops.to_host(ops._hopper_turned(weight, bias, head_dim, rotary)(stored, ops.to_device(batch)))
    expected = (ops.to_host(stored).astype(np.float64) @ weight.T + (0 if bias is None else bias)).reshape(-1, 3, num_heads, head_dim)
    for first, length in zip(batch.cu_seqlens, batch.lengths, strict=False):
        rows = slice(first, first + length)
        for part in range(2):
            expected[rows, part] = rotate(expected[rows, part], *rotary.cosines_and_sines(int(length)))
    assert relative_error(got, expected.reshape(got.shape)) < LIMITS[precision]


def _poison() -> None:
    """Freed at once: the pool hands this memory, all NaN, to the next result."""
    import cupy as cp

    cp.full(64 << 20, 0xFF, cp.uint8)


@pytest.mark.parametrize(("outputs", "inputs"), [(4096, 1024), (768, 96)])
def test_a_weight_that_tiles_do_not_cover_is_refused(outputs: int, inputs: int) -> None:
    from embermill.encoder.backends.cuda.sm90_gemm import HopperGemm, Tile

    with pytest.raises(ValueError, match=rf"outputs in tiles of 192 and inputs in steps of 64, got weight \[{outputs}, {inputs}\]"):
        HopperGemm(0, 0, outputs, inputs, precision="float16", storage=16, multiprocessors=132, tile=Tile(192, 5))


def _erf(x: np.ndarray) -> np.ndarray:
    import cupy as cp
    from cupyx.scipy.special import erf

    return np.asarray(cp.asnumpy(erf(cp.asarray(x, cp.float64))))
