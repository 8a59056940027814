"""Attention alone: a window beside the whole document, and a bias by distance beside none. One JSON line a row.

    python -m tests.bench.bench_distance_attention [--precision float16]
BERT-base's heads (12 of 64). Microseconds of one launch, from launches captured in one graph, in turns.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial

import cupy as cp
import numpy as np

from embermill.encoder.backends.cuda.ops import CudaOps
from embermill.encoder.device import choose_device
from embermill.encoder.pipeline.batching import pack

HEADS, HEAD_DIM, WINDOW, RADIUS = 12, 64, 64, 91
REPEATS, ROUNDS = 8, 7


def lengths_of(kind: str, tokens: int) -> np.ndarray:
    """"fixedN", or "mixed": log-normal, median 90, sd 0.8, clipped to 8..512."""
    if kind.startswith("fixed"):
        return np.full(tokens // int(kind[5:]), int(kind[5:]))
    drawn = np.clip(np.exp(np.random.default_rng(0).normal(np.log(90), 0.8, tokens // 16)), 8, 512).astype(np.int64)
    return drawn[: int(np.searchsorted(np.cumsum(drawn), tokens))]


def graph_of(launch: Callable[[], object]) -> Callable[[], float]:
    """-> a function that gives microseconds of one launch."""
    stream, pool = cp.cuda.Stream(non_blocking=True), cp.cuda.MemoryPool()
    cp.cuda.Device().synchronize()
    with stream, cp.cuda.using_allocator(pool.malloc):
        launch()
        stream.synchronize()
        stream.begin_capture()
        for _ in range(REPEATS):
            launch()
        graph = stream.end_capture()

    def run(keep: tuple[object, object] = (pool, launch)) -> float:
        begin, end = cp.cuda.Event(), cp.cuda.Event()
        begin.record(stream)
        graph.launch(stream)
        end.record(stream)
        end.synchronize()
        return float(cp.cuda.get_elapsed_time(begin, end)) * 1e3 / REPEATS

    return run


def in_turns(runs: dict[str, Callable[[], float]]) -> dict[str, float]:
    seen: dict[str, list[float]] = {name: [run()][:0] for name, run in runs.items()}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            seen[name].append(run())
    return {name: round(float(np.median(us)), 1) for name, us in seen.items()}


def attention_rows(precision: str) -> Iterator[dict[str, object]]:
    ops = CudaOps(choose_device("gpu"), precision)
    bias = np.random.default_rng(0).standard_normal((HEADS, 2 * RADIUS + 1), dtype=np.float32)
    plain = ops.attention(HEADS, HEAD_DIM)
    windowed, biased = ops.attention(HEADS, HEAD_DIM, window=WINDOW), ops.attention(HEADS, HEAD_DIM, bias=bias)
    for kind in ("fixed128", "fixed512", "mixed", "fixed8192"):
        lengths = lengths_of(kind, 131072)
        (batch,) = pack(np.zeros(int(lengths.sum()), np.int32), np.concatenate([[0], np.cumsum(lengths)]), 1 << 20)
        on_gpu = ops.to_device(batch)
        qkv = ops.from_host(np.random.default_rng(1).standard_normal((batch.num_rows, 3 * HEADS * HEAD_DIM), dtype=np.float32))
        attends = {"whole": plain, "window": windowed, "bias": biased}
        us = in_turns({name: graph_of(partial(attend, qkv, on_gpu)) for name, attend in attends.items()})
        flops = 4.0 * float((lengths.astype(np.float64) ** 2).sum()) * HEADS * HEAD_DIM
        yield {
            "attention": f"{HEADS} x {HEAD_DIM}", "precision": precision, "load": kind, "tokens": batch.num_rows, "us": us,
            "whole_tflop_s": round(flops / us["whole"] / 1e6, 1), "window_faster": round(us["whole"] / us["window"], 2),
            "bias_costs": round(us["bias"] / us["whole"] - 1, 4),
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=["float16", "bfloat16"], default="float16")
    for row in attention_rows(parser.parse_args().precision):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
