"""BERT at 21abdb6 and now, in one process, in turns: the same bits, and how the throughput compares.

    python -m tests.bench.bert_since_21abdb6 CHECKOUT_OF_21abdb6 [--device cpu|gpu] [--precisions float32] [--shapes minilm-l6,bert-base] [--rounds 15]

The old package is called `encoder`, the new one `embermill.encoder`: both are loaded. One JSON object a row; exit 1 where bits differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from embermill.encoder import Encoder
from embermill.encoder.measure.random_model import SHAPES, VOCAB_SIZE, write_random_model

LOADS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "128": lambda random, count: np.full(count, 128),
    "512": lambda random, count: np.full(count, 512),
    "mixed": lambda random, count: random.integers(8, 300, count),
}
TOKENS = {"cpu": 1 << 13, "gpu": 1 << 22}


def workload(kind: str, tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat ids and offsets of documents with about so many tokens in all."""
    random = np.random.default_rng(5)
    lengths = LOADS[kind](random, tokens // 100)
    lengths = lengths[: max(1, int(np.searchsorted(np.cumsum(lengths), tokens)))]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return random.integers(0, VOCAB_SIZE, offsets[-1], dtype=np.int32), offsets


def turns(encoders: dict[str, Any], ids: np.ndarray, offsets: np.ndarray, rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each call, the two taking turns at being first: the process's own where the CPU computes, which others' work on the machine disturbs less."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for number in range(rounds):
        for name in sorted(encoders, reverse=bool(number % 2)):
            begin = clock()
            encoders[name].encode_token_ids(ids, offsets)
            seconds[name].append(clock() - begin)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--device", choices=TOKENS, default="cpu")
    parser.add_argument("--precisions", default="float32")
    parser.add_argument("--shapes", default="minilm-l6")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, help="of a load, in all")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.checkout.resolve()))
    old = import_module("encoder")
    assert Path(old.__file__ or "").is_relative_to(arguments.checkout.resolve()), old.__file__
    differ = 0
    for shape in arguments.shapes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            write_random_model(SHAPES[shape], Path(folder))
            for precision in arguments.precisions.split(","):
                options = dict(device=arguments.device, precision=precision, threads=arguments.threads)
                encoders = {"21abdb6": old.Encoder.from_pretrained(folder, **options), "now": Encoder.from_pretrained(folder, **options)}
                for load in LOADS:
                    ids, offsets = workload(load, arguments.tokens or TOKENS[arguments.device])
                    vectors = {name: encoder.encode_token_ids(ids, offsets) for name, encoder in encoders.items()}
                    same = vectors["21abdb6"].tobytes() == vectors["now"].tobytes()
                    differ += not same
                    clock = time.process_time if arguments.device == "cpu" else time.perf_counter
                    seconds = turns(encoders, ids, offsets, arguments.rounds, clock)
                    ratio = statistics.median(before / now for before, now in zip(seconds["21abdb6"], seconds["now"], strict=True))
                    best = min(seconds["21abdb6"]) / min(seconds["now"])
                    rates = {name: round(len(ids) / statistics.median(values)) for name, values in seconds.items()}
                    row = dict(shape=shape, precision=precision, load=load, same_bits=same, tokens_per_s=rates)
                    print(json.dumps(row | dict(median_of_ratios=round(ratio, 4), ratio_of_best=round(best, 4))), flush=True)
                for encoder in encoders.values():
                    encoder.close()
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
