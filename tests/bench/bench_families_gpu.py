"""Families beside BERT: our forward pass beside the peer's on the same weights, in turns, and the attention kernels alone. One JSON line a row.

    python -m tests.bench.bench_families_gpu --peer .carry [--families modernbert-base,nomic-base] [--loads mixed] [--precision float16] [--quick]
        [--variants "no fused norm"]
Each family in a process of its own; with --families "", the attention kernels only. --peer: the folder of peers_families_gpu.py and peers_gpu.py.
--quick: fewer tokens and rounds, no cosines, nothing but the rows that count. --variants: beside ours, these fusions taken out, each by itself, or "all".
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from tests.bench.bench_distance_attention import attention_rows
from tests.bench.family_models import write_bert, write_folder
from tests.bench.gpu_forward import Ours

LOADS = ("fixed128", "fixed512", "mixed", "fixed8192")
BARS = {  # times the peer
    "xlmr-base": (1.15, 1.15, 1.15), "xlmr-large": (1.15, 1.15, 1.15), "mpnet-base": (1.15, 1.4, 1.6),
    "modernbert-base": (1.35, 1.35, 1.35, 1.1), "nomic-base": (1.2, 1.2, 1.2, 1.0),
}  # fmt: skip
BERT_OF_ITS_SHAPE = {"xlmr-base": "base", "xlmr-large": "large"}
VARIANTS: dict[str, dict[str, Any]] = {
    "no fused norm": {"fused_norm": False}, "no fused gate": {"fused_gate": False}, "no fused rotary": {"fused_rotary": False},
    "before Hopper": {"architecture": "compute_80"},
}  # fmt: skip
TOKENS = 33 * 65536  # whole batches of the peer's 65,536 rows and of our 135,168


def show(**row: object) -> None:
    print(json.dumps(row), flush=True)


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        sys.path.insert(0, args.peer)
        import peers_families_gpu as peers
        from peers_gpu import Workload, take_turns

        self.peers, self.workload, self.take_turns, self.args = peers, Workload, take_turns, args
        self.rounds, self.window_s = (3, 0.3) if args.quick else (5, 0.5)

    def family(self, family: str) -> None:
        """All that is compiled is compiled, and all that is compared is compared, before the first turn is timed."""
        precision, peers = self.args.precision, self.peers
        hf = peers.hf_model(family)
        if hf is not None:
            hf.half().float()  # everybody has the weights of the file
        peer = peers.Packed(family, precision, hf)
        folder = str(write_folder(family, hf, peer.model, Path("/tmp/embermill-families") / f"{family}-{precision}"))
        candidates = {"ours": Ours(folder, precision)}
        chosen = VARIANTS if self.args.variants == "all" else filter(None, self.args.variants.split(","))
        candidates |= {name: Ours(folder, precision, **VARIANTS[name]) for name in chosen}
        if family in BERT_OF_ITS_SHAPE:
            candidates["bert"] = Ours(write_bert(BERT_OF_ITS_SHAPE[family], f"{folder}-bert"), precision)
        ready = []
        for kind, bar in zip(LOADS, BARS[family], strict=False):
            if kind in self.args.loads.split(","):
                work = self.workload.make(kind, TOKENS // (2 if self.args.quick or family == "xlmr-large" else 1))
                runs: dict[str, Any] = {name: ours.prepare(work) for name, ours in candidates.items()} | {"peer": peer.prepare(work)}
                near = {} if self.args.quick else self.cosines(runs, work, kind, hf, folder)
                for run in runs.values():
                    run()
                ready.append((kind, bar, work, runs, near))
        self.wait_for_turn(family)
        for kind, bar, work, runs, near in ready:
            self.row(family, kind, bar, work, runs, near)
        if not self.args.quick:
            self.time_per_kernel(family, folder)

    def wait_for_turn(self, family: str) -> None:
        """With --gate, the GPU alone: says that it is ready by a file in that folder, and waits for another, go-FAMILY-PRECISION."""
        if self.args.gate:
            name = f"{family}-{self.args.precision}"
            Path(self.args.gate, f"ready-{name}").touch()
            while not Path(self.args.gate, f"go-{name}").exists():
                time.sleep(0.1)

    def time_per_kernel(self, family: str, folder: str) -> None:
        timed = Ours(folder, self.args.precision, timed=True)
        for kind in LOADS[: len(BARS[family])]:
            if kind in self.args.loads.split(","):
                parts = timed.families(self.workload.make(kind, 1 << 18))
                show(family=family, load=kind, rows=parts.rows, ns_per_token={name: round(ns, 2) for name, ns in parts.ns_per_token.items()})

    def row(self, family: str, kind: str, bar: float, work: Any, runs: dict[str, Any], near: dict[str, Any]) -> None:
        rates = self.take_turns(runs, work.tokens, rounds=self.rounds, window_s=self.window_s)
        over = {name: round(rates["ours"] / rate, 4) for name, rate in rates.items() if name != "ours"}
        mtok_s = {name: round(rate / 1e6, 3) for name, rate in rates.items()}
        passes = over["peer"] >= bar and over.get("bert", 1.0) >= 0.99
        show(family=family, precision=self.args.precision, load=kind, tokens=work.tokens, mtok_s=mtok_s, over=over, bar=bar, passes=passes, **near)

    def cosines(self, runs: dict[str, Any], work: Any, kind: str, hf: Any, folder: str) -> dict[str, Any]:
        """Minimum and mean around the mean row: to float32, and of ours to the peer."""
        documents = 16 if kind == "fixed8192" else 64
        ours, theirs = runs["ours"](), runs["peer"]()
        found: dict[str, Any] = {"to_peer": [round(value, 6) for value in self.peers.cosine(ours, theirs)], "finite": bool(torch.isfinite(ours).all())}
        expected = self.our_float32(folder, work, documents) if hf is None else self.peers.reference(hf, work, documents)
        for name, y in (("ours_to_float32", ours), ("peer_to_float32", theirs)):
            found[name] = [round(value, 6) for value in self.peers.cosine(y, expected)]
        return {"cosine": found}

    def our_float32(self, folder: str, work: Any, documents: int) -> torch.Tensor:
        """Where transformers has no code for a family: our own float32, which the reference tests compare with the family's published code."""
        lengths = work.lengths[:documents]
        few = self.workload(lengths, work.input_ids[: int(lengths.sum())])
        return Ours(folder, "float32", 16384).prepare(few)()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=".carry")
    parser.add_argument("--families", default=",".join(BARS))
    parser.add_argument("--loads", default=",".join(LOADS))
    parser.add_argument("--precision", choices=["float16", "bfloat16"], default="float16")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--variants", default="")
    parser.add_argument("--commit", default="")
    parser.add_argument("--gate", default="", help="a folder by whose files processes that prepare side by side are timed one after another")
    args = parser.parse_args()
    families = list(filter(None, args.families.split(",")))
    if len(families) > 1:  # a fault of one must not be that of the next
        for only in ("", *families):
            subprocess.run([sys.executable, "-m", "tests.bench.bench_families_gpu", *sys.argv[1:], "--families", only], check=False)
        return
    gpu = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout.strip()
    show(gpu=gpu, commit=args.commit, torch=torch.__version__)
    for family in families:
        Bench(args).family(family)
    if not families:
        for row in attention_rows(args.precision):
            show(**row)


if __name__ == "__main__":
    main()
