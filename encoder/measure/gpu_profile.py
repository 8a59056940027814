"""Where the time of a forward pass on an NVIDIA GPU goes: by kernel family, and as a share of the ceiling that its products alone would reach."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cupy as cp
import numpy as np

from embermill.encoder.backends.cuda.ops import CudaOps
from embermill.encoder.description import ModelDescription
from embermill.encoder.device import Device
from embermill.encoder.encoder import _plan_forward
from embermill.encoder.errors import ModelConfigError
from embermill.encoder.models.bert import BertConfig
from embermill.encoder.pipeline.batching import pack

CHAIN_ROWS = 65536
CHAIN_SAMPLE_ROWS = 4096
CHAIN_SECONDS = 1.0
WEIGHT_SETS = 2


@dataclass(frozen=True)
class Families:
    """rows: of the batch that was timed. ns_per_token: kernel family -> nanoseconds a token, all layers together, kernels one after another."""

    rows: int
    ns_per_token: dict[str, float]


class TimedOps(CudaOps):
    """CudaOps that leaves a pair of events around every operation in `spans`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.spans: list[tuple[str, Any, Any]] = []

    def _timed(self, family: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **options: Any) -> Any:
            begin, end = cp.cuda.Event(), cp.cuda.Event()
            begin.record()
            result = run(*arguments, **options)
            end.record()
            self.spans.append((family, begin, end))
            return result

        return timed

    def embed(self, *arguments: Any, **options: Any) -> Any:
        return self._timed("embed", super().embed(*arguments, **options))

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Any:
        return self._timed(f"linear {weight.shape[0]} x {weight.shape[1]} {activation or ''}".strip(), super().linear(weight, bias, activation))

    def _hopper_norm(self, weight: np.ndarray, *arguments: Any) -> Any:
        return self._timed(f"linear {weight.shape[0]} x {weight.shape[1]} norm", super()._hopper_norm(weight, *arguments))

    def _hopper_sum_norm(self, weight: np.ndarray, *arguments: Any) -> Any:
        return self._timed(f"linear {weight.shape[0]} x {weight.shape[1]} sum and norm", super()._hopper_sum_norm(weight, *arguments))

    def _hopper_gated(self, gate: np.ndarray, *arguments: Any) -> Any:
        return self._timed(f"linear 2 x {gate.shape[0]} x {gate.shape[1]} gated", super()._hopper_gated(gate, *arguments))

    def _hopper_turned(self, weight: np.ndarray, *arguments: Any) -> Any:
        return self._timed(f"linear {weight.shape[0]} x {weight.shape[1]} rotary", super()._hopper_turned(weight, *arguments))

    def sum_and_layer_norm(self, *arguments: Any) -> Any:
        return self._timed("sum and layer_norm", super().sum_and_layer_norm(*arguments))

    def add_layer_norm(self, *arguments: Any) -> Any:
        return self._timed("layer_norm", super().add_layer_norm(*arguments))

    def attention(self, num_heads: int, head_dim: int, **positions: Any) -> Any:
        kind = " ".join(["attention", *(name for name in ("rotary", "window", "bias") if positions.get(name) is not None)])
        return self._timed(kind, super().attention(num_heads, head_dim, **positions))

    def segment_pool(self, kind: str) -> Any:
        return self._timed("pool", super().segment_pool(kind))

    def span_pool(self) -> Any:
        return self._timed("pool", super().span_pool())


class ShapeProfile:
    """A model on a GPU: its kernel families on any documents, and its ceiling."""

    def __init__(self, description: ModelDescription, device: Device, precision: str) -> None:
        self.ops = TimedOps(device, precision)
        self.forward = _plan_forward(description, self.ops)
        config = description.config.transformer
        if not isinstance(config, BertConfig):
            raise ModelConfigError(f"the profile of a model's products is for BERT, got model_type {config.model_type!r}.")
        self.chain_tokens_per_s = chain_tokens_per_s(config, device, precision)

    def families(self, ids: np.ndarray, offsets: np.ndarray) -> Families:
        return measure_families(self.ops, self.forward, ids, offsets)


def measure_families(ops: TimedOps, forward: Callable[[Any], Any], ids: np.ndarray, offsets: np.ndarray, repeats: int = 3) -> Families:
    """Medians over the repeats, on the first batch of these documents."""
    batch = ops.to_device(next(iter(pack(ids, offsets, ops.max_batch_tokens))))
    seen: dict[str, list[float]] = defaultdict(list)
    pool = cp.cuda.MemoryPool()
    cp.cuda.Device().synchronize()
    with cp.cuda.Stream(non_blocking=True), cp.cuda.using_allocator(pool.malloc):
        for _ in range(repeats + 1):
            ops.spans.clear()
            forward(batch)
            cp.cuda.Device().synchronize()
            totals: dict[str, float] = defaultdict(float)
            for family, begin, end in ops.spans:
                totals[family] += cp.cuda.get_elapsed_time(begin, end)
            for family, ms in totals.items():
                seen[family].append(ms)
    rows = batch.room.rows
    return Families(rows, {family: float(np.median(ms[1:])) * 1e6 / rows for family, ms in seen.items()})


def chain_tokens_per_s(config: BertConfig, device: Device, precision: str, seed: int = 0) -> float:
    """Tokens/s of the products of all layers alone, bias and residual in their epilogues, in one captured graph, sustained: nothing that runs them is faster.

    Weights have a deviation of 0.05 and activations are of unit size: power, and so speed, depends on the data.
    """
    ops, random = CudaOps(device, precision, CHAIN_ROWS, fused_gelu=False), np.random.default_rng(seed)
    hidden, inner = config.hidden_size, config.intermediate_size

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, dtype=np.float32)

    def activations(width: int) -> Any:
        return ops.from_host(np.tile(normal(CHAIN_SAMPLE_ROWS, width), (CHAIN_ROWS // CHAIN_SAMPLE_ROWS, 1)))

    shapes = ((3 * hidden, hidden), (hidden, hidden), (inner, hidden), (hidden, inner))
    sets = [[ops.linear(normal(*shape) * np.float32(0.05), normal(shape[0])) for shape in shapes] for _ in range(WEIGHT_SETS)]
    x, h = activations(hidden), activations(inner)

    def launch() -> None:
        for layer in range(config.num_layers):
            qkv, attention_output, intermediate, output = sets[layer % WEIGHT_SETS]
            qkv(x), attention_output(x, x), intermediate(x), output(h, x)

    return CHAIN_ROWS / _sustained_seconds(launch)


def _sustained_seconds(launch: Callable[[], None]) -> float:
    """Seconds of one replay of `launch` as a graph, replayed for about CHAIN_SECONDS after as long a warm-up."""
    stream, pool = cp.cuda.Stream(non_blocking=True), cp.cuda.MemoryPool()
    cp.cuda.Device().synchronize()
    with stream, cp.cuda.using_allocator(pool.malloc):
        launch()
        stream.synchronize()
        stream.begin_capture()
        launch()
        graph = stream.end_capture()
    repeats, seconds = 1, 0.0
    while seconds < CHAIN_SECONDS:
        begin = time.perf_counter()
        for _ in range(repeats):
            graph.launch(stream)
        stream.synchronize()
        seconds = time.perf_counter() - begin
        if seconds < CHAIN_SECONDS:
            repeats = max(repeats + 1, int(repeats * 1.1 * CHAIN_SECONDS / max(seconds, 1e-6)))
    return seconds / repeats
