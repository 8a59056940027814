"""Our forward pass as a candidate for peers_gpu.take_turns, and the same pass with an event around every operation.

    ours = Ours(folder, "float16", budget=65536); run = ours.prepare(work)     # run() -> [B, E] float32 on the host, order of work.lengths
    Ours(folder, "float16", timed=True).families(work)                         # nanoseconds a token of each kernel family
Batches are packed beforehand, as the peers' are; ids go up and embeddings come down inside the measured time.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from embermill.encoder.backends.cuda.ops import CudaOps
from embermill.encoder.backends.cupy.program import GpuProgram
from embermill.encoder.description import describe
from embermill.encoder.device import choose_device
from embermill.encoder.encoder import _plan_forward
from embermill.encoder.measure.gpu_profile import Families, TimedOps, measure_families
from embermill.encoder.pipeline.batching import PackedBatch, pack
from tests.bench.peers_gpu import Workload, write_model


class Ours:
    def __init__(
        self,
        folder: str,
        precision: str,
        budget: int | None = None,
        *,
        timed: bool = False,
        architecture: str = "",
        **options: Any,
    ) -> None:
        """architecture: "compute_80" for what GPUs before Hopper run, compiled by the driver from PTX."""
        device = choose_device("gpu")
        self.ops = (TimedOps if timed else CudaOps)(device._replace(architecture=architecture or device.architecture), precision, budget, **options)
        self.folder, self.budget = folder, self.ops.max_batch_tokens
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

    def families(self, work: Workload) -> Families:
        """Nanoseconds a token of each kernel family, in the first batch."""
        assert isinstance(self.ops, TimedOps)
        return measure_families(self.ops, self.forward, work.input_ids, np.concatenate([[0], np.cumsum(work.lengths)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="minilm,base,large")
    parser.add_argument("--precision", default="float16")
    args = parser.parse_args()
    for model in args.models.split(","):
        ours = Ours(write_model(model, f"/tmp/{model}"), args.precision, timed=True)
        for kind in ("fixed128", "fixed512", "mixed"):
            found = ours.families(Workload.make(kind, 1 << 18))
            parts = ", ".join(f"{name} {ns:.1f}" for name, ns in found.ns_per_token.items())
            print(f"{model} {args.precision} {kind} {found.rows} rows, ns/token: {parts}", flush=True)


if __name__ == "__main__":
    main()
