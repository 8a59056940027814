"""Our forward pass as a candidate for peers_gpu.take_turns, and the same pass with an event around every operation.

    ours = Ours(folder, "float16", budget=65536); run = ours.prepare(work)     # run() -> [B, E] float32 on the host, order of work.lengths
    Ours(folder, "float16", timed=True).families(work)                         # milliseconds of each kernel family in one batch
Batches are packed beforehand, as the peers' are; ids go up and embeddings come down inside the measured time.
"""

from __future__ import annotations

import argparse
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import cupy as cp
import numpy as np
import torch

from encoder.batching import PackedBatch, pack
from encoder.description import describe
from encoder.device import choose_device
from encoder.encoder import _plan_forward
from encoder.ops.cuda_ops import BATCH_TOKENS, CudaOps
from encoder.ops.gpu_program import GpuProgram
from tests.bench.peers_gpu import Workload, write_model


class Ours:
    def __init__(self, folder: str, precision: str, budget: int = BATCH_TOKENS, *, timed: bool = False, **options: Any) -> None:
        self.folder, self.budget = folder, budget
        self.ops = (TimedOps if timed else CudaOps)(choose_device("gpu"), precision, budget, **options)
        description = describe(folder, normalize=True)
        self.dimension, self.forward = description.dimension, _plan_forward(description, self.ops)
        self.programs: dict[int, GpuProgram] = {}

    def program(self, budget: int) -> GpuProgram:
        if budget not in self.programs:
            self.programs[budget] = GpuProgram(self.forward, self.ops.tile_rows, budget, graphs=True)
        return self.programs[budget]

    def batches(self, work: Workload, budget: int) -> list[PackedBatch]:
        return list(pack(work.input_ids, np.concatenate([[0], np.cumsum(work.lengths)]), budget))

    def prepare(self, work: Workload, budget: int | None = None) -> Callable[[], torch.Tensor]:
        """budget: other than the one given at the start (whose rows chose the products' algorithms)."""
        batches, program = self.batches(work, budget or self.budget), self.program(budget or self.budget)

        def run() -> torch.Tensor:
            out = np.empty((len(work.lengths), self.dimension), np.float32)
            waiting: deque[Any] = deque()
            for batch in batches:
                if len(waiting) == program.depth:
                    order, pending = waiting.popleft()
                    out[order] = pending.result()
                waiting.append((batch.order, program.submit(batch)))
            for order, pending in waiting:
                out[order] = pending.result()
            return torch.from_numpy(out).cuda()

        return run

    def families(self, work: Workload, repeats: int = 3) -> tuple[int, dict[str, float]]:
        """Rows of the first batch, and milliseconds of each family in it (eager, medians)."""
        assert isinstance(self.ops, TimedOps)
        batch = self.ops.to_device(self.batches(work, self.budget)[0])
        seen: dict[str, list[float]] = defaultdict(list)
        pool = cp.cuda.MemoryPool()
        with cp.cuda.Stream(non_blocking=True), cp.cuda.using_allocator(pool.malloc):
            for _ in range(repeats + 1):
                self.ops.spans.clear()
                self.forward(batch)
                cp.cuda.Device().synchronize()
                totals: dict[str, float] = defaultdict(float)
                for family, begin, end in self.ops.spans:
                    totals[family] += cp.cuda.get_elapsed_time(begin, end)
                for family, ms in totals.items():
                    seen[family].append(ms)
        return batch.room.rows, {family: float(np.median(ms[1:])) for family, ms in seen.items()}


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

    def embed(self, *arguments: Any) -> Any:
        return self._timed("embed", super().embed(*arguments))

    def linear(self, weight: np.ndarray, bias: np.ndarray | None, activation: str | None = None) -> Any:
        return self._timed(f"linear {weight.shape[0]} x {weight.shape[1]} {activation or ''}".strip(), super().linear(weight, bias, activation))

    def add_layer_norm(self, *arguments: Any) -> Any:
        return self._timed("layer_norm", super().add_layer_norm(*arguments))

    def attention(self, num_heads: int, head_dim: int) -> Any:
        return self._timed("attention", super().attention(num_heads, head_dim))

    def segment_pool(self, kind: str) -> Any:
        return self._timed("pool", super().segment_pool(kind))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="minilm,base,large")
    parser.add_argument("--precision", default="float16")
    args = parser.parse_args()
    for model in args.models.split(","):
        ours = Ours(write_model(model, f"/tmp/{model}"), args.precision, timed=True)
        for kind in ("fixed128", "fixed512", "mixed"):
            rows, families = ours.families(Workload.make(kind, 1 << 17))
            parts = ", ".join(f"{name} {ms * 1e6 / rows:.1f}" for name, ms in families.items())
            print(f"{model} {args.precision} {kind} {rows} rows, ns/token: {parts}", flush=True)


if __name__ == "__main__":
    main()
