"""The large corpus, made where it is measured: 1,000,000 rows (id, text) in 16 Parquet files, row groups of 4,096 rows.

    python -m tests.bench.corpus FOLDER --tokenizer MODEL_FOLDER [--rows 1000000] [--files 16]
Lengths follow Workload.make("mixed"): log-normal, median 90 tokens, sd 0.8, clipped to 8 .. 512, special tokens included. Text is cut, at tokens'
borders, from the docstrings of the Python packages of this machine. Seeded: one machine always makes the same rows. Not timed.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

POOL_CHARACTERS = 12_000_000  # of docstrings that all rows are cut from
ROW_GROUP_ROWS, SPECIAL_TOKENS = 4096, 2
LONG_TOKENS, LONG_GROUP_ROWS = 10_000, 64  # of a long document, and of a row group of them

T = TypeVar("T")
_pool: tuple[str, np.ndarray, np.ndarray]  # all docstrings as one text; first and last character of each of its tokens


def lengths_of(rows: int, seed: int) -> np.ndarray:
    """[rows] int64, tokens of each document."""
    rng = np.random.default_rng(seed)
    return np.clip(np.exp(rng.normal(math.log(90), 0.8, rows)), 8, 512).astype(np.int64)


def source_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def docstrings_of(file: Path) -> list[str]:
    import ast
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError, RecursionError):
            return []
    nodes = (node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)))
    return [text for node in nodes if (text := ast.get_docstring(node))]


def docstrings(workers: int) -> list[str]:
    """Docstrings of the standard library and the installed packages, in the order of their files, on all cores, until there are enough."""
    import sysconfig

    files = [file for key in ("stdlib", "purelib") for file in source_files(Path(sysconfig.get_paths()[key]))]
    kept: dict[str, None] = {}
    characters = 0
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for texts in pool.imap(docstrings_of, files, chunksize=16):
            for text in texts:
                characters += 0 if text in kept else len(text)
                kept[text] = None
            if characters >= POOL_CHARACTERS:
                break
    return list(kept)


def token_pool(texts: list[str], tokenizer: Tokenizer) -> tuple[str, np.ndarray, np.ndarray]:
    """One long text, and where each of its tokens begins and ends."""
    begins, ends, at = [], [], 0
    for start in range(0, len(texts), 4096):
        part = texts[start : start + 4096]
        for text, encoding in zip(part, tokenizer.encode_batch(part, add_special_tokens=False), strict=True):
            spans = np.array(encoding.offsets, np.int64).reshape(-1, 2)
            begins.append(spans[:, 0] + at)
            ends.append(spans[:, 1] + at)
            at += len(text) + 1
    return "\n".join(texts), np.concatenate(begins), np.concatenate(ends)


def write_file(task: tuple[Path, int, int, int]) -> int:
    """One Parquet file; returns its tokens."""
    path, number, rows, seed = task
    text, begins, ends = _pool
    lengths = lengths_of(rows, seed + number)
    first = np.random.default_rng(seed + 1000 + number).integers(0, len(begins) - 512, rows)
    last = first + lengths - SPECIAL_TOKENS - 1
    texts = [text[begin:end] for begin, end in zip(begins[first].tolist(), ends[last].tolist(), strict=True)]
    ids = [f"{number:02d}-{row:07d}" for row in range(rows)]
    pq.write_table(pa.table({"id": ids, "text": texts}), path, row_group_size=ROW_GROUP_ROWS, compression="zstd")
    return int(lengths.sum())


def write_long_file(task: tuple[Path, int, int, int]) -> tuple[int, int]:
    """One Parquet file of documents of LONG_TOKENS; returns its tokens and characters."""
    path, number, rows, seed = task
    text, begins, ends = _pool
    first = np.random.default_rng(seed + 2000 + number).integers(0, len(begins) - LONG_TOKENS, rows)
    texts = [text[begin:end] for begin, end in zip(begins[first].tolist(), ends[first + LONG_TOKENS - 1].tolist(), strict=True)]
    ids = [f"{number:02d}-{row:07d}" for row in range(rows)]
    pq.write_table(pa.table({"id": ids, "text": texts}), path, row_group_size=LONG_GROUP_ROWS, compression="zstd")
    return rows * LONG_TOKENS, sum(map(len, texts))


def write_long_corpus(folder: Path, tokenizer_folder: Path, documents: int, files: int = 16, seed: int = 0) -> tuple[int, int]:
    """Tokens and characters of so many documents."""
    found = _write(folder, tokenizer_folder, documents, files, seed, write_long_file)
    return sum(tokens for tokens, _ in found), sum(characters for _, characters in found)


def write_corpus(folder: Path, tokenizer_folder: Path, rows: int = 1_000_000, files: int = 16, seed: int = 0) -> int:
    """Tokens intended; the tokenizer's own count differs by what a cut in the middle of a word changes."""
    return sum(_write(folder, tokenizer_folder, rows, files, seed, write_file))


@cache
def _pool_of(tokenizer_folder: Path) -> tuple[str, np.ndarray, np.ndarray]:
    tokenizer = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return token_pool(docstrings(multiprocessing.cpu_count()), tokenizer)


def _write(folder: Path, tokenizer_folder: Path, rows: int, files: int, seed: int, write: Callable[[tuple[Path, int, int, int]], T]) -> list[T]:
    global _pool
    workers = multiprocessing.cpu_count()
    folder.mkdir(parents=True, exist_ok=True)
    _pool = _pool_of(tokenizer_folder)
    shares = [rows // files + (number < rows % files) for number in range(files)]
    tasks = [(folder / f"part-{number:02d}.parquet", number, share, seed) for number, share in enumerate(shares)]
    with multiprocessing.get_context("fork").Pool(min(workers, files)) as pool:
        return [*pool.imap(write, tasks)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=16)
    args = parser.parse_args()
    begin = time.perf_counter()
    tokens = write_corpus(args.folder, args.tokenizer, args.rows, args.files)
    print(f"{args.rows} rows, {tokens} tokens in {args.files} files, {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
