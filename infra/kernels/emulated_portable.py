"""The kernels of cupy/ as ROCm compiles them, emulated: how far each is from float64, as a share of what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from embermill.encoder.ops.base import POOLINGS
from embermill.encoder.ops.reference import pool
from infra.kernels.emulator import STORAGES, Kernel, Numbers


class Distance(NamedTuple):
    """What attention makes of k - q: a window around each query, a bias up to a radius."""

    window: int | None = None
    radius: int | None = None

    @property
    def defines(self) -> dict[str, int]:
        return {name: value for name, value in (("WINDOW", self.window), ("BIAS_RADIUS", self.radius)) if value is not None}

    def bias(self, numbers: Numbers, heads: int) -> np.ndarray | None:
        """[H, 2R+1] of about the size of the scores."""
        return None if self.radius is None else 2 * numbers.plain(heads, 2 * self.radius + 1)

    def added(self, bias: np.ndarray | None, length: int) -> np.ndarray:
        """[H or 1, L, L]: what is added to scaled scores."""
        k_minus_q = np.arange(length) - np.arange(length)[:, None]
        total = np.zeros((1, length, length)) if self.window is None else np.where(np.abs(k_minus_q) <= self.window, 0.0, -np.inf)[None]
        return total if bias is None or self.radius is None else total + bias[:, np.clip(k_minus_q, -self.radius, self.radius) + self.radius]


LENGTHS = [1, 40, 5, 32, 33, 7]
BOUNDS = np.cumsum([0, *LENGTHS], dtype=np.int32)
ROWS, COUNT = int(BOUNDS[-1]), np.array([len(LENGTHS)], np.int32)
EPS = 1e-12
DISTANCES = [Distance(window=3), Distance(window=32), Distance(radius=5), Distance(window=20, radius=9)]
erf = np.vectorize(math.erf, otypes=[np.float64])


def portable_cases(clang: str) -> Iterator[tuple[str, float]]:
    for precision in STORAGES:
        yield f"convert {precision}", convert(clang, precision)
        for width in (37, 384):  # one value at a time, and 16 bytes
            yield f"embed_layer_norm {width} {precision}", embed_layer_norm(clang, precision, width)
            yield f"add_layer_norm {width} {precision}", add_layer_norm(clang, precision, width)
            yield f"sum_layer_norm {width} {precision}", sum_layer_norm(clang, precision, width)
            yield f"gate {width} {precision}", gate(clang, precision, width)
            for tables in ("word", "word type", "word position norm", "word type norm"):
                yield f"embed {tables} {width} {precision}", embed(clang, precision, width, tables)
            yield f"epilogue {width} {precision}", epilogue(clang, precision, width)
            for kind in range(6):
                yield f"segment_pool {kind} {width} {precision}", segment_pool(clang, precision, width, kind)
            yield f"span_pool {width} {precision}", span_pool(clang, precision, width)
        for head_dim in (12, 64):
            yield f"turn {head_dim} {precision}", turn(clang, precision, head_dim)
            yield f"attention {head_dim} {precision}", attention(clang, precision, head_dim)
        for distance in DISTANCES:
            yield f"attention 12 {distance} {precision}", attention(clang, precision, 12, distance)
    yield "angles_by_position", angles_by_position(clang)
    yield "angles_by_length", angles_by_length(clang)
    yield "layer_norm", row_layer_norm(clang)
    yield "l2_normalize", l2_normalize(clang)
    yield "dense", dense(clang)
    yield "truncate", truncate(clang)


def convert(clang: str, precision: str) -> float:
    """Bit for bit: random values, and as many that lie in the middle between two of 16 bits."""
    numbers = Numbers(precision, seed=1)
    x, out = numbers.plain(70, 11), numbers.poisoned(70, 11)
    lost = {"float32": 0, "float16": 13, "bfloat16": 16}[precision]  # bits of float32
    if lost:
        middle = x[::2].view(np.uint32)
        middle &= np.uint32(-1 << lost & 0xFFFFFFFF)
        middle |= np.uint32(1 << (lost - 1))
    Kernel(clang, "cupy/convert.cu", "convert", "float* from, stored* to, int64 count", precision)((2, 1), (256, 1), out, x, out, x.size)
    return numbers.error(out, numbers.real(numbers.stored(x))) if (out[:70] == numbers.stored(x)).all() else math.inf


def embed_layer_norm(clang: str, precision: str, width: int) -> float:
    numbers = Numbers(precision, seed=width)
    word, position, token_type = numbers.normal(97, width), numbers.normal(160, width), numbers.normal(1, width)
    gamma, beta, out = numbers.plain(width), numbers.plain(width), numbers.poisoned(ROWS, width)
    ids, places = (numbers.random.integers(0, size, ROWS, dtype=np.int32) for size in (97, 160))
    parameters = "int* ids, int* places, stored* word, stored* position, stored* type, float* gamma, float* beta, float eps, stored* out, int rows"
    kernel = Kernel(clang, "cupy/layer_norm.cu", "embed_layer_norm", parameters, precision, WIDTH=width)
    kernel((3, 1), (32, 8), out, ids, places, word, position, token_type, gamma, beta, EPS, out, ROWS)
    return numbers.error(out, layer_norm(numbers.real(word)[ids] + numbers.real(position)[places] + numbers.real(token_type), gamma, beta))


def add_layer_norm(clang: str, precision: str, width: int) -> float:
    """In x's place, as our layers do it."""
    numbers = Numbers(precision, seed=width)
    x, residual, gamma, beta = numbers.normal(ROWS, width), numbers.normal(ROWS, width), numbers.plain(width), numbers.plain(width)
    out = numbers.poisoned(ROWS, width)
    out[:ROWS] = x
    parameters = "stored* x, stored* residual, float* gamma, float* beta, float eps, stored* out, int rows"
    kernel = Kernel(clang, "cupy/layer_norm.cu", "add_layer_norm", parameters, precision, WIDTH=width)
    kernel((3, 1), (32, 8), out, out, residual, gamma, beta, EPS, out, ROWS)
    return numbers.error(out, layer_norm(numbers.real(x) + numbers.real(residual), gamma, beta))


def embed(clang: str, precision: str, width: int, tables: str) -> float:
    numbers = Numbers(precision, seed=width)
    sizes = {"word": 97, "position": 160, "type": 1}
    held = {name: numbers.normal(size, width) for name, size in sizes.items() if name in tables}
    gamma, beta, out = numbers.plain(width), numbers.plain(width), numbers.poisoned(ROWS, width)
    ids, places = (numbers.random.integers(0, size, ROWS, dtype=np.int32) for size in (97, 160))
    parameters = "int* ids, int* places, stored* word, stored* position, stored* type, float* gamma, float* beta, float eps, stored* out, int rows"
    kernel = Kernel(clang, "cupy/layer_norm.cu", "embed", parameters, precision, WIDTH=width)
    norm = (gamma, beta) if "norm" in tables else (None, None)
    kernel((3, 1), (32, 8), out, ids, places, *(held.get(name) for name in sizes), *norm, EPS, out, ROWS)
    rows = dict(word=ids, position=places, type=np.zeros(ROWS, int))
    total = sum(numbers.real(table)[rows[name]] for name, table in held.items())
    return numbers.error(out, layer_norm(total, gamma, beta) if "norm" in tables else total)


def sum_layer_norm(clang: str, precision: str, width: int) -> float:
    """The sum in the residual's place, and what is normalised in x's, as our layers do it."""
    numbers = Numbers(precision, seed=width)
    x, residual, gamma, beta = numbers.normal(ROWS, width), numbers.normal(ROWS, width), numbers.plain(width), numbers.plain(width)
    both = numbers.poisoned(2 * ROWS, width)
    both[:ROWS], both[ROWS : 2 * ROWS] = residual, x
    parameters = "stored* x, stored* residual, float* gamma, float* beta, float eps, stored* sum, stored* out, int rows"
    kernel = Kernel(clang, "cupy/layer_norm.cu", "sum_layer_norm", parameters, precision, WIDTH=width)
    kernel((3, 1), (32, 8), both, both[ROWS:], both, gamma, beta, EPS, both, both[ROWS:], ROWS)
    total = numbers.real(x) + numbers.real(residual)
    return numbers.error(both, np.concatenate([total, layer_norm(total, gamma, beta)]))


def gate(clang: str, precision: str, width: int) -> float:
    numbers = Numbers(precision, seed=width)
    x, bias, out = numbers.normal(ROWS, 2 * width), numbers.plain(2 * width), numbers.poisoned(ROWS, width)
    kernel = Kernel(clang, "cupy/gate.cu", "gate", "stored* x, float* bias, stored* out, int rows", precision, WIDTH=width, ACTIVATION=5)
    kernel((3, 1), (256, 1), out, x, bias, out, ROWS)
    opened, held = np.split(numbers.real(x) + bias, 2, axis=1)
    return numbers.error(out, opened / (1 + np.exp(-opened)) * held)


def turn(clang: str, precision: str, head_dim: int) -> float:
    numbers, heads = Numbers(precision, seed=head_dim), 3
    qkv, out, angles = numbers.normal(ROWS, 3 * heads * head_dim), numbers.poisoned(ROWS, 3 * heads * head_dim), numbers.plain(50, head_dim // 2)
    out[:ROWS] = qkv
    positions, table = numbers.random.integers(0, 50, ROWS, dtype=np.int32), np.stack([np.cos(angles), np.sin(angles)], -1)
    parameters = "stored* qkv, float2* angles, int* positions, int rows, int num_heads"
    Kernel(clang, "cupy/rotary.cu", "turn", parameters, precision, HEAD_DIM=head_dim)((3, 1), (256, 1), out, out, table, positions, ROWS, heads)
    return numbers.error(out, turned(numbers.real(qkv), angles[positions], heads))


def angles_by_position(clang: str) -> float:
    """Up to 8,192 radians."""
    numbers, positions = Numbers("float32", seed=7), 8192
    frequencies, out = np.array([1.0, 0.37, 0.01, 1e-4], np.float32), numbers.poisoned(positions, 8)
    parameters = "float* frequencies, float2* out, int positions"
    Kernel(clang, "cupy/rotary.cu", "angles_by_position", parameters, "float32", HEAD_DIM=8)((3, 1), (256, 1), out, frequencies, out, positions)
    angles = (np.arange(positions, dtype=np.float32)[:, None] * frequencies).astype(np.float64)
    return numbers.error(out, np.stack([np.cos(angles), np.sin(angles)], -1).reshape(positions, 8))


def angles_by_length(clang: str) -> float:
    """Angles of up to 2,500 turns, too."""
    numbers, trained, half = Numbers("float32", seed=5), 20, 8
    frequencies = np.exp(-2 * np.abs(numbers.plain(21, half)))
    frequencies[:, 0] = 400.0
    out = numbers.poisoned(ROWS, 2 * half)
    parameters = "float* frequencies, int* bounds, int* count, float2* out, int trained"
    kernel = Kernel(clang, "cupy/rotary.cu", "angles_by_length", parameters, "float32", HEAD_DIM=2 * half)
    kernel((3, 2), (256, 1), out, frequencies, BOUNDS, COUNT, out, trained)
    angles = np.concatenate([np.arange(n, dtype=np.float32)[:, None] * frequencies[max(n - trained, 0)] for n in LENGTHS]).astype(np.float64)
    return numbers.error(out, np.stack([np.cos(angles), np.sin(angles)], -1).reshape(ROWS, 2 * half))


def epilogue(clang: str, precision: str, width: int) -> float:
    numbers = Numbers(precision, seed=width)
    x, residual, bias, out = numbers.normal(ROWS, width), numbers.normal(ROWS, width), numbers.plain(width), numbers.poisoned(ROWS, width)
    parameters = "stored* x, float* bias, stored* residual, stored* out, int rows"
    kernel = Kernel(clang, "cupy/epilogue.cu", "epilogue", parameters, precision, WIDTH=width, ACTIVATION=1)
    kernel((3, 1), (256, 1), out, x, bias, residual, out, ROWS)
    shifted = numbers.real(x) + bias
    return numbers.error(out, 0.5 * shifted * (1 + erf(shifted / math.sqrt(2))) + numbers.real(residual))


def segment_pool(clang: str, precision: str, width: int, kind: int) -> float:
    """kind: a number of pooling.cu's POOLING. The first document has nothing left."""
    numbers, skip = Numbers(precision, seed=kind), 2
    hidden, out = numbers.normal(ROWS, width), numbers.poisoned(len(LENGTHS), width, np.float32)
    parameters = "stored* hidden, int* bounds, int* count, int* skip, float* out"
    kernel = Kernel(clang, "cupy/pooling.cu", "segment_pool", parameters, precision, WIDTH=width, POOLING=kind)
    kernel((3, 1), (64, 4), out, hidden, BOUNDS, COUNT, np.array([skip], np.int32), out)

    return numbers.error(out, np.array([pool(rows, POOLINGS[kind], skip) for rows in np.split(numbers.real(hidden), BOUNDS[1:-1])]))


def span_pool(clang: str, precision: str, width: int) -> float:
    """Whole documents, parts of them, one row, and nothing."""
    numbers = Numbers(precision, seed=9)
    starts, ends = BOUNDS[:-1], BOUNDS[1:]
    spans = np.ascontiguousarray(np.stack([np.concatenate([starts, starts, starts, ends]), np.concatenate([ends, (starts + ends) // 2, starts + 1, ends])], 1))
    hidden, out = numbers.normal(ROWS, width), numbers.poisoned(len(spans), width, np.float32)
    parameters = "stored* hidden, int* spans, int* count, float* out"
    kernel = Kernel(clang, "cupy/pooling.cu", "span_pool", parameters, precision, WIDTH=width, POOLING=1)
    kernel((3, 1), (64, 4), out, hidden, spans, np.array([len(spans)], np.int32), out)
    rows = numbers.real(hidden)
    return numbers.error(out, np.array([rows[start:end].mean(0) if start < end else np.zeros(width) for start, end in spans.tolist()]))


def row_layer_norm(clang: str) -> float:
    numbers = Numbers("float32", seed=6)
    x, out = numbers.plain(len(LENGTHS), 37), numbers.poisoned(len(LENGTHS), 37)
    Kernel(clang, "cupy/pooling.cu", "layer_norm", "float* x, int* count, float eps, float* out", "float32", WIDTH=37)((2, 1), (32, 8), out, x, COUNT, EPS, out)
    return numbers.error(out, layer_norm(x.astype(np.float64), np.ones(37), np.zeros(37)))


def attention(clang: str, precision: str, head_dim: int, distance: Distance = Distance()) -> float:  # noqa: B008
    numbers, heads = Numbers(precision, seed=head_dim), 3
    qkv, out, tiles = attention_case(numbers, LENGTHS, heads, head_dim, query_rows=16)
    bias = distance.bias(numbers, heads)
    parameters = "stored* qkv, int4* tiles, int* count, stored* out, int num_heads, float scale_log2" + (", float* bias" if bias is not None else "")
    kernel = Kernel(clang, "cupy/attention.cu", "attention", parameters, precision, HEAD_DIM=head_dim, TILE_ROWS=16, **distance.defines)
    given = [] if bias is None else [(bias * np.log2(np.e)).astype(np.float32)]
    kernel((3, 1), (32, 8), out, qkv, tiles, np.array([len(tiles)], np.int32), out, heads, head_dim**-0.5 * math.log2(math.e), *given)
    return numbers.error(out, attended(numbers.real(qkv), LENGTHS, heads, head_dim, distance, bias))


def l2_normalize(clang: str) -> float:
    numbers = Numbers("float32", seed=2)
    x, out = numbers.plain(len(LENGTHS), 37), numbers.poisoned(len(LENGTHS), 37)
    Kernel(clang, "cupy/pooling.cu", "l2_normalize", "float* x, int* count, float* out", "float32", WIDTH=37)((2, 1), (32, 8), out, x, COUNT, out)
    return numbers.error(out, x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True))


def dense(clang: str) -> float:
    numbers = Numbers("float32", seed=3)
    x, weight, bias, out = numbers.plain(len(LENGTHS), 37), numbers.plain(53, 37), numbers.plain(53), numbers.poisoned(len(LENGTHS), 53)
    parameters = "float* x, float* weight, float* bias, int* count, float* out, int outputs"
    Kernel(clang, "cupy/pooling.cu", "dense", parameters, "float32", WIDTH=37, ACTIVATION=4)((5, 2), (32, 8), out, x, weight, bias, COUNT, out, 53)
    return numbers.error(out, np.tanh(x.astype(np.float64) @ weight.T + bias))


def truncate(clang: str) -> float:
    numbers = Numbers("float32", seed=4)
    x, out = numbers.plain(len(LENGTHS), 37), numbers.poisoned(len(LENGTHS), 19)
    kernel = Kernel(clang, "cupy/pooling.cu", "truncate", "float* x, int* count, float* out, int columns", "float32", WIDTH=19)
    kernel((2, 1), (32, 8), out, x, COUNT, out, 37)
    return numbers.error(out, x[:, :19].astype(np.float64))


def layer_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    centred = x - x.mean(1, keepdims=True)
    scaled: np.ndarray = centred / np.sqrt((centred**2).mean(1, keepdims=True) + EPS) * gamma + beta
    return scaled


def attention_case(numbers: Numbers, lengths: list[int], heads: int, head_dim: int, query_rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """qkv, room for the result, and tiles."""
    tiles = [(first, length, query, 0) for first, length in _documents(lengths) for query in range(0, length, query_rows)]
    rows = sum(lengths)
    return numbers.normal(rows, 3 * heads * head_dim, size=1.5), numbers.poisoned(rows, heads * head_dim), np.array(tiles, np.int32)


def attended(
    qkv: np.ndarray, lengths: list[int], heads: int, head_dim: int, distance: Distance = Distance(), bias: np.ndarray | None = None  # noqa: B008
) -> np.ndarray:
    context = np.zeros((len(qkv), heads, head_dim))
    for first, length in _documents(lengths):
        query, key, value = qkv[first : first + length].reshape(length, 3, heads, head_dim).transpose(1, 2, 0, 3)
        odds = np.exp(query @ key.transpose(0, 2, 1) * head_dim**-0.5 + distance.added(bias, length))
        context[first : first + length] = (odds / odds.sum(-1, keepdims=True) @ value).transpose(1, 0, 2)
    return context.reshape(len(qkv), heads * head_dim)


def turned(qkv: np.ndarray, angles: np.ndarray, heads: int) -> np.ndarray:
    """Queries and keys of qkv [T, 3E] turned by angles [T, D/2]: dimension i of a head together with i + D/2."""
    parts = qkv.reshape(len(qkv), 3, heads, 2, -1)
    low, high = parts[:, :2, :, 0], parts[:, :2, :, 1]
    cosine, sine = (f(angles.astype(np.float64))[:, None, None] for f in (np.cos, np.sin))
    out = parts.copy()
    out[:, :2, :, 0], out[:, :2, :, 1] = low * cosine - high * sine, high * cosine + low * sine
    return out.reshape(qkv.shape)


def _documents(lengths: list[int]) -> Iterator[tuple[int, int]]:
    """(first row, length) of each."""
    return zip(np.cumsum([0, *lengths]).tolist(), lengths, strict=False)
