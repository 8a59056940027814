"""The rows that count: our forward pass beside its peers and its ceiling, in turns, one model and precision per command, under nine minutes.

    python -m tests.bench.bench_gpu --model base --precision float16 [--autotuned] [--rounds 5] [--window 1.0]
One JSON line per load (fixed 128, fixed 512, mixed): million tokens/s of ours, of `varlen` (65,536; torch.compile, FlashAttention varlen) and, with
--autotuned, of max-autotune at fixed 128; the share of the GEMM chain; both cosines to float32 around the mean row. Then time per kernel family.
"""

from __future__ import annotations

import argparse
import json
import subprocess

import torch

from tests.bench.gemm_chain import chain
from tests.bench.gpu_forward import Ours
from tests.bench.peers_gpu import SHAPES, Run, Varlen, Workload, cosine, reference, take_turns, write_model

CHAIN_TOKENS = 65536
TOKENS = 33 * 65536  # whole batches of the peer's 65,536 rows and of our 135,168


def row(model: str, precision: str, kind: str, ours: Ours, peers: dict[str, Varlen], ceiling: Run, rounds: int, window_s: float) -> dict[str, object]:
    work = Workload.make(kind, TOKENS // 2 if model == "large" else TOKENS)
    runs: dict[str, Run] = {"ours": ours.prepare(work)}
    runs |= {name: peer.prepare(work) for name, peer in peers.items() if name == "varlen" or kind == "fixed128"}
    expected = reference(ours.folder, work)
    near = {name: cosine(run().to(expected.device), expected) for name, run in runs.items()}
    repeats = max(1, work.tokens // CHAIN_TOKENS)

    def repeated() -> None:
        for _ in range(repeats):
            ceiling()

    rates = take_turns(runs | {"chain": repeated}, work.tokens, rounds=rounds, window_s=window_s)  # type: ignore[dict-item]
    rates["chain"] *= repeats * CHAIN_TOKENS / work.tokens
    return {
        "model": model, "precision": precision, "load": kind, "tokens": work.tokens,
        "mtok_s": {name: round(rate / 1e6, 3) for name, rate in rates.items()},
        "over": {name: round(rates["ours"] / rate, 3) for name, rate in rates.items() if name != "ours"},
        "cosine_min": {name: round(value[0], 6) for name, value in near.items()},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="base")
    parser.add_argument("--precision", choices=["float16", "bfloat16"], default="float16")
    parser.add_argument("--autotuned", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=1.0, help="seconds of a turn")
    parser.add_argument("--commit", default="")
    args = parser.parse_args()
    gpu = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout.strip()
    folder = write_model(args.model, f"/tmp/{args.model}")
    ours = Ours(folder, args.precision)
    print(json.dumps({"gpu": gpu, "commit": args.commit, "torch": torch.__version__, "kernels": ours.ops.kernel_set, "budget": ours.budget}), flush=True)
    peers = {"varlen": Varlen(folder, args.precision)}
    if args.autotuned:
        peers["varlen-autotuned"] = Varlen(folder, args.precision, mode="max-autotune-no-cudagraphs")
    ceiling = chain(args.model, args.precision, CHAIN_TOKENS)
    for kind in ("fixed128", "fixed512", "mixed"):
        print(json.dumps(row(args.model, args.precision, kind, ours, peers, ceiling, args.rounds, args.window)), flush=True)
    timed = Ours(folder, args.precision, timed=True)
    for kind in ("fixed128", "fixed512", "mixed"):
        found = timed.families(Workload.make(kind, 1 << 18))
        parts = {name: round(ns, 2) for name, ns in found.ns_per_token.items()}
        print(json.dumps({"load": kind, "rows": found.rows, "ns_per_token": parts}), flush=True)


if __name__ == "__main__":
    main()
