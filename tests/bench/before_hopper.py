"""What GPUs before Hopper run, on the GPU that is here: PTX for compute capability 8.0, which the driver compiles. One JSON line a row.

    python -m tests.bench.before_hopper [--models minilm,base] [--precision float16] [--rounds 5]
The whole pass beside torch's packed, compiled form (FlashAttention-2 through varlen_attn) and beside what Hopper runs; then attention alone and the passes
that follow products alone, beside torch's. On Hopper the whole pass has Hopper's products from cuBLASLt: it says little about an A100, on which this has
not yet run; the kernels alone say more. Bar: 1.0 times torch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from embermill.encoder.backends.cuda.ops import CudaOps
from embermill.encoder.device import choose_device
from embermill.encoder.pipeline.batching import pack
from tests.bench.bench_distance_attention import lengths_of
from tests.bench.gpu_forward import Ours
from tests.bench.peers_gpu import Varlen, Workload, take_turns, write_model

BEFORE = "compute_80"
LOADS = ("fixed128", "fixed512", "mixed")
TOKENS, KERNEL_ROWS = 16 * 135168, 131072
HEADS = ((12, 64), (12, 32))
REPEATS, ROUNDS = 10, 7


def whole_passes(model: str, precision: str, rounds: int) -> Iterator[dict[str, Any]]:
    folder = write_model(model, f"/tmp/before-hopper-{model}")
    ours, peer = {"before": Ours(folder, precision, architecture=BEFORE), "hopper": Ours(folder, precision)}, Varlen(folder, precision)
    for kind in LOADS:
        work = Workload.make(kind, TOKENS)
        runs: dict[str, Any] = {name: one.prepare(work) for name, one in ours.items()} | {"torch": peer.prepare(work)}
        rates = take_turns(runs, work.tokens, rounds=rounds, window_s=0.4)
        over = round(rates["before"] / rates["torch"], 4)
        mtok_s = {name: round(rate / 1e6, 3) for name, rate in rates.items()}
        yield dict(model=model, precision=precision, load=kind, mtok_s=mtok_s, over_torch=over, passes=over >= 1.0)


def in_turns(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Microseconds of one call: medians."""
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(ROUNDS + 1):
        for name, run in runs.items():
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            for _ in range(REPEATS):
                run()
            end.record()
            end.synchronize()
            if round_:
                seen[name].append(begin.elapsed_time(end) * 1e3 / REPEATS)
    return {name: round(float(np.median(us)), 1) for name, us in seen.items()}


def on_torch_stream(run: Callable[..., object], *arguments: Any) -> Callable[[], object]:
    import cupy as cp

    stream = cp.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream)

    def call() -> object:
        with stream:
            return run(*arguments)

    return call


def attention_alone(ops: CudaOps, precision: str) -> Iterator[dict[str, Any]]:
    from torch.nn.attention.varlen import varlen_attn

    for heads, dim in HEADS:
        attend = ops.attention(heads, dim)
        for kind in LOADS:
            lengths = lengths_of(kind, KERNEL_ROWS)
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            (batch,) = pack(np.zeros(int(lengths.sum()), np.int32), offsets, 1 << 20)
            on_gpu, width = ops.to_device(batch), heads * dim
            qkv = ops.from_host(np.random.default_rng(1).standard_normal((batch.num_rows, 3 * width), dtype=np.float32))
            q, k, v = (torch.randn(batch.num_rows, heads, dim, device="cuda", dtype=getattr(torch, precision)) for _ in range(3))
            cu, longest = torch.from_numpy(offsets).to("cuda", torch.int32), int(lengths.max())
            us = in_turns({"before": on_torch_stream(attend, qkv, on_gpu), "torch": partial(varlen_attn, q, k, v, cu, cu, longest, longest)})
            yield dict(attention=f"{heads} x {dim}", precision=precision, load=kind, us=us, over_torch=round(us["torch"] / us["before"], 4))


def passes_alone(ops: CudaOps, precision: str) -> Iterator[dict[str, Any]]:
    """erf GELU of a [T, 3072], and residual with LayerNorm of [T, 768]."""
    dtype = getattr(torch, precision)
    for name, width in (("gelu", 3072), ("layer_norm", 768)):
        x, y = (torch.randn(KERNEL_ROWS // 2, width, device="cuda", dtype=dtype) for _ in range(2))
        stored = ops.from_host(x.float().cpu().numpy())
        if name == "gelu":
            ours, theirs = on_torch_stream(ops._epilogue(width, "gelu"), stored, None, None, stored), partial(torch.compile(F.gelu), x)
        else:
            gamma, ones = torch.ones(width, device="cuda", dtype=dtype), np.ones(width, np.float32)
            norm = torch.compile(lambda a, b, g: F.layer_norm(a + b, (g.shape[0],), g, g))
            ours = on_torch_stream(ops.add_layer_norm(ones, ones, 1e-12), stored, ops.from_host(y.float().cpu().numpy()))
            theirs = partial(norm, x, y, gamma)
        us = in_turns({"before": ours, "torch": theirs})
        yield dict(follows_a_product=name, precision=precision, us=us, over_torch=round(us["torch"] / us["before"], 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="minilm,base")
    parser.add_argument("--precision", choices=["float16", "bfloat16"], default="float16")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    ops = CudaOps(choose_device("gpu")._replace(architecture=BEFORE), args.precision)
    with torch.inference_mode():
        for rows in (attention_alone(ops, args.precision), passes_alone(ops, args.precision)):
            for row in rows:
                print(json.dumps(row), flush=True)
    for model in filter(None, args.models.split(",")):
        for row in whole_passes(model, args.precision, args.rounds):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
