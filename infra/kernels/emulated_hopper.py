"""The kernels of cuda/ for Hopper, emulated: how far each is from float64, as a share of what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from embermill.encoder.backends.cuda.distance_bias import bias_lines
from embermill.encoder.backends.cuda.sm90_gemm import THREADS, TILE_M, Tile, in_eights
from embermill.encoder.backends.cuda.sm90_gemm_norm import ROW_TILES
from infra.kernels.emulated_portable import EPS, Distance, attended, attention_case, erf, layer_norm, turned
from infra.kernels.emulator import Kernel, Map, Numbers

PRODUCT = "TensorMap x, TensorMap weight, TensorMap out, float* bias, int m, int n, int k"
DISTANCES = [Distance(window=64), Distance(window=10), Distance(radius=91), Distance(window=70, radius=6)]
LENGTHS = [1, 300, 5, 32, 33, 64, 65, 128, 129, 7]


def hopper_cases(clang: str) -> Iterator[tuple[str, float]]:
    for precision in ("float16", "bfloat16"):
        for tile in (Tile(), Tile(cluster=1), Tile(192, 5)):
            yield f"gemm_wgmma {tile} {precision}", product_with_gelu(clang, precision, tile)
        for activation, biased in ((1, False), (5, True)):
            yield f"gemm_wgmma gated {activation} {precision}", gated_product(clang, precision, activation, biased)
        for head_dim, biased in ((32, True), (64, False), (128, False)):
            yield f"gemm_wgmma rotary {head_dim} {precision}", rotary_product(clang, precision, head_dim, biased)
        for outputs in ROW_TILES:
            yield f"gemm_norm {outputs} {precision}", product_with_norm(clang, precision, outputs)
            yield f"gemm_norm {outputs} with its sum {precision}", product_with_norm(clang, precision, outputs, keep_sum=True)
        for head_dim in (32, 64):
            yield f"attention_wgmma {head_dim} {precision}", attention(clang, precision, head_dim)
        for head_dim, distance in zip((64, 32, 64, 32), DISTANCES[:: 1 if precision == "float16" else -1], strict=True):
            yield f"attention_wgmma {head_dim} {distance} {precision}", attention(clang, precision, head_dim, distance)


def product_with_gelu(clang: str, precision: str, tile: Tile) -> float:
    rows, outputs, inputs, clusters = 300, 768, 448, 2  # more tiles than clusters, the last not full; more of K than there are stages
    numbers = Numbers(precision, seed=tile.columns)
    x, weight, bias = numbers.normal(rows, inputs), numbers.normal(outputs, inputs, size=inputs**-0.5), numbers.plain(outputs)
    out = numbers.poisoned(rows, outputs)
    kernel = Kernel(clang, "cuda/sm90_gemm.cu", "gemm_wgmma", PRODUCT, precision, ACTIVATION=1, **tile.defines)
    maps = Map.of(x, rows, TILE_M), Map.of(weight, outputs, tile.columns // tile.cluster), Map.of(out, rows, 64)
    kernel((clusters * tile.cluster, 1), (THREADS, 1), out, *maps, bias, rows, outputs, inputs, cluster=tile.cluster)
    product = numbers.real(x) @ numbers.real(weight).T + bias
    return numbers.error(out, 0.5 * product * (1 + erf(product / math.sqrt(2))))


def gated_product(clang: str, precision: str, activation: int, biased: bool) -> float:
    """Columns that end inside a tile."""
    rows, inner, inputs, clusters, tile = 300, 200, 192, 2, Tile()
    numbers = Numbers(precision, seed=activation)
    x, gate, up = numbers.normal(rows, inputs), *(numbers.normal(inner, inputs, size=inputs**-0.5) for _ in range(2))
    biases, out = numbers.plain(2, inner) * np.float32(biased), numbers.poisoned(rows, inner)
    weight, bias = in_eights(gate, up), np.zeros(tile.whole(2 * inner), np.float32)
    bias[: 2 * inner] = in_eights(*biases)
    kernel = Kernel(clang, "cuda/sm90_gemm.cu", "gemm_wgmma", PRODUCT, precision, ACTIVATION=activation, GATED=1, BIAS=int(biased), **tile.defines)
    maps = Map.of(x, rows, TILE_M), Map.of(weight, 2 * inner, tile.columns // tile.cluster), Map.of(out, rows, 64)
    kernel((clusters * tile.cluster, 1), (THREADS, 1), out, *maps, bias, rows, tile.whole(2 * inner), inputs, cluster=tile.cluster)
    opened, held = (numbers.real(x) @ numbers.real(part).T + shift for part, shift in zip((gate, up), biases, strict=True))
    return numbers.error(out, (0.5 * opened * (1 + erf(opened / math.sqrt(2))) if activation == 1 else opened / (1 + np.exp(-opened))) * held)


def rotary_product(clang: str, precision: str, head_dim: int, biased: bool) -> float:
    rows, heads, inputs, clusters, tile = 300, 640 // head_dim, 64, 1, Tile()
    width = heads * head_dim
    numbers = Numbers(precision, seed=head_dim)
    x, weight = numbers.normal(rows, inputs), numbers.normal(3 * width, inputs, size=inputs**-0.5)
    bias, out = np.zeros(tile.whole(3 * width), np.float32), numbers.poisoned(rows, 3 * width)
    bias[: 3 * width] = numbers.plain(3 * width) * np.float32(biased)
    angles = numbers.plain(50, head_dim // 2)
    table, positions = np.stack([np.cos(angles), np.sin(angles)], -1), numbers.random.integers(0, 50, rows, dtype=np.int32)
    parameters = f"{PRODUCT}, float2* angles, int* positions, int turned"
    kernel = Kernel(clang, "cuda/sm90_gemm.cu", "gemm_wgmma", parameters, precision, ROTARY_DIM=head_dim, BIAS=int(biased), **tile.defines)
    maps = Map.of(x, rows, TILE_M), Map.of(weight, 3 * width, tile.columns // tile.cluster), Map.of(out, rows, 64)
    sizes = rows, tile.whole(3 * width), inputs
    kernel((clusters * tile.cluster, 1), (THREADS, 1), out, *maps, bias, *sizes, table, positions, 2 * width, cluster=tile.cluster)
    return numbers.error(out, turned(numbers.real(x) @ numbers.real(weight).T + bias[: 3 * width], angles[positions], heads))


def product_with_norm(clang: str, precision: str, outputs: int, *, keep_sum: bool = False) -> float:
    rows, inputs, clusters, tile = 300, 320, 1, ROW_TILES[outputs]
    numbers, cluster = Numbers(precision, seed=outputs), tile.cluster_rows * tile.blocks
    x, weight, residual = numbers.normal(rows, inputs), numbers.normal(outputs, inputs, size=inputs**-0.5), numbers.normal(rows, outputs)
    (bias, gamma, beta), out = numbers.plain(3, outputs), numbers.poisoned(rows, outputs)
    total, kept = numbers.poisoned(rows, outputs), dict(KEEP_SUM=1) if keep_sum else {}
    parameters = "TensorMap x, TensorMap weight, TensorMap residual, float* bias, float* gamma, float* beta, float eps, stored* out, int m, int k"
    parameters += ", stored* sum" if keep_sum else ""
    shape = dict(TILE_N=tile.columns, STAGES=tile.stages, CLUSTER_ROWS=tile.cluster_rows, CLUSTER_COLUMNS=tile.blocks)
    kernel = Kernel(clang, "cuda/sm90_gemm_norm.cu", "gemm_norm", parameters, precision, **shape, **kept)
    maps = Map.of(x, rows, TILE_M // tile.blocks), Map.of(weight, outputs, tile.columns // tile.parts // tile.cluster_rows), Map.of(residual, rows, TILE_M)
    kernel((clusters * cluster, 1), (THREADS, 1), out, *maps, bias, gamma, beta, EPS, out, rows, inputs, *([total] if keep_sum else []), cluster=cluster)
    held = numbers.real(x) @ numbers.real(weight).T + bias + numbers.real(residual)
    return max(numbers.error(out, layer_norm(held, gamma, beta)), numbers.error(total, held) if keep_sum else 0)


def attention(clang: str, precision: str, head_dim: int, distance: Distance = Distance()) -> float:  # noqa: B008
    numbers, heads, threads = Numbers(precision, seed=head_dim), 2 if distance.radius == 91 else 3, 640  # with two, a crew keeps its head, and its biases
    qkv, out, tiles = attention_case(numbers, LENGTHS, heads, head_dim, query_rows=128)
    bias = distance.bias(numbers, heads)
    parameters = "bits16* qkv, int4* tiles, int* count, bits16* out, int num_heads, float scale_log2" + (", float* bias" if bias is not None else "")
    kernel = Kernel(clang, "cuda/sm90_attention.cu", "attention_wgmma", parameters, precision, HEAD_DIM=head_dim, **distance.defines)
    given = [] if bias is None else [bias_lines(bias, head_dim)]
    kernel((2, 1), (threads, 1), out, qkv, tiles, np.array([len(tiles)], np.int32), out, heads, head_dim**-0.5 * math.log2(math.e), *given)
    return numbers.error(out, attended(numbers.real(qkv), LENGTHS, heads, head_dim, distance, bias))
