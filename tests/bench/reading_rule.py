"""How much the reading rule costs beside a bare scan: python -m tests.bench.reading_rule [--rows 400000] [--dim 384] [--versions 10] [--times 3] [--threads 1]
    [--engines DuckDB Polars pyarrow]

A base of `rows` rows and versions that each upsert 1 % of them, spread over all. The bare scan reads every column of the base's files, the rule the live rows
of the newest version. Seconds are medians, in turns, of one engine after the other; for each how many times the bare scan.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.dataset.metadata.schema import row_schema
from embermill.jobs.dataset.metadata.versions import BASE, UPSERTS, Contents, Version, VersionFile, commit_version, read_version
from embermill.jobs.dataset.views.live import LiveRows, open_rows
from embermill.jobs.dataset.views.opening import open_version
from embermill.jobs.dataset.views.reading_rule import reading_rule
from embermill.jobs.plan.files import Plan, write_plan
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.text_hash import hash_texts
from embermill.jobs.storage import Folder, open_folder
from embermill.jobs.versions.row_files import blank, part_name, write_rows
from tests.jobs import sample_dataset
from tests.jobs.sample_dataset import make_plan, write_shard

ROWS_PER_SHARD = 100_000


def batches(plan: Plan, numbers: np.ndarray, version: int, dim: int) -> Iterator[pa.RecordBatch]:
    schema, rng = row_schema(plan), np.random.default_rng(version)
    for some in np.array_split(numbers, max(1, len(numbers) // 8192)):
        vectors = rng.standard_normal((len(some), dim), np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        columns = {
            "id": pa.array([f"document-{number:09d}" for number in some.tolist()]),
            "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=schema.field("embedding").type),
            "num_tokens": pa.array(np.full(len(some), 100, np.int32)),
            "num_tokens_dropped": pa.array(np.zeros(len(some), np.int32)),
            "text_hash": hash_texts(pa.array([f"{number} {version}" for number in some.tolist()])),
            "version": pa.array(np.full(len(some), version, np.int64)),
            "lang": pa.array(["en"] * len(some)),
        }
        yield pa.RecordBatch.from_pydict(columns, schema=schema)


def make(folder: Folder, rows: int, dim: int, versions: int) -> Plan:
    """Version 1 is one row (a run's), version 2 a base of all others as `compact` makes it, and then the changes."""
    plan = make_plan(1, rows=1, rows_per_shard=ROWS_PER_SHARD, dim=dim, tells_versions=True)
    write_plan(folder, plan)
    log = CommitLog(folder)
    log.append([_one_row(folder, plan, dim)])
    publish_manifest(folder, plan, log)
    parent, files = read_version(folder), list[VersionFile]()
    for part, first in enumerate(range(0, rows, ROWS_PER_SHARD)):
        numbers = np.arange(first, min(rows, first + ROWS_PER_SHARD))
        files.append(write_rows(folder, plan, blank(1 + part, BASE, part_name("bases/000002", part), 2), batches(plan, numbers, 2, dim)))
    parent = commit_version(folder, Contents(2, 1, "compact", {"rows": rows}, tuple(files)))
    rng = np.random.default_rng(0)
    for number in range(3, 3 + versions):
        changed = np.sort(rng.choice(rows, rows // 100, replace=False))
        place = blank(parent.next_file, UPSERTS, part_name(f"changes/{number:06d}/upserts", 0), number)
        file = write_rows(folder, plan, place, batches(plan, changed, number, dim))
        parent = commit_version(folder, Contents(number, parent.number, "sync", {"rows": rows}, (*parent.files, file)))
    return plan


def _one_row(folder: Folder, plan: Plan, dim: int) -> Receipt:
    embed = sample_dataset.embed
    sample_dataset.embed = lambda batch, dim=dim: embed(batch, dim)  # type: ignore[assignment]
    try:
        return write_shard(folder, plan, rows=1)
    finally:
        sample_dataset.embed = embed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("rows", 400_000), ("dim", 384), ("versions", 10), ("times", 3), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--engines", nargs="+", choices=("DuckDB", "Polars", "pyarrow"), default=["DuckDB", "Polars", "pyarrow"])
    parser.add_argument("--folder", help="where there is room; the machine's own for temporary files unless given")
    arguments = parser.parse_args()
    os.environ["POLARS_MAX_THREADS"] = str(arguments.threads)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as root:
        folder = open_folder(str(Path(root, "ds")))
        make(folder, arguments.rows, arguments.dim, arguments.versions)
        plan, version = open_version(folder)
        base = replace(version, files=version.of_kind(BASE))

        def by_duckdb(which: Version) -> int:
            import duckdb

            connection = duckdb.connect(config={"threads": arguments.threads})
            query = reading_rule(folder, plan, which, "duckdb").rstrip(";")
            found = connection.execute(f"SELECT count(*), sum(embedding[1]), max(text_hash), max(id) FROM ({query})").fetchone()
            assert found is not None
            return int(found[0])

        def by_polars(which: Version) -> int:
            import polars as pl

            names: dict[str, object] = {}
            exec(reading_rule(folder, plan, which, "polars"), names)
            rows = names["rows"]
            assert isinstance(rows, pl.LazyFrame)
            return rows.collect(engine="streaming").height

        def by_pyarrow(which: Version) -> int:
            return sum(batch.num_rows for batch in LiveRows(folder, plan, which).batches())

        def bare_pyarrow(_: Version) -> int:
            rows = 0
            for file in base.files:
                with open_rows(folder, file.name) as parquet:
                    rows += sum(batch.num_rows for batch in parquet.iter_batches(16_384, use_threads=False))
            return rows

        calls = {"DuckDB": (by_duckdb, by_duckdb), "Polars": (by_polars, by_polars), "pyarrow": (bare_pyarrow, by_pyarrow)}
        for engine in arguments.engines:
            report(engine, *calls[engine], base, version, arguments.times)


def report(engine: str, bare: Callable[[Version], int], rule: Callable[[Version], int], base: Version, version: Version, times: int) -> None:
    seconds: dict[str, list[tuple[float, float]]] = {"bare": [], "rule": []}
    for _ in range(times + 1):  # the first warms up
        for name, call, which in (("bare", bare, base), ("rule", rule, version)):
            begin, cpu = time.perf_counter(), time.process_time()
            rows = call(which)
            seconds[name].append((time.perf_counter() - begin, time.process_time() - cpu))
    for place, kind in enumerate(("seconds", "CPU seconds")):
        scan, ruled = (statistics.median(each[place] for each in seconds[name][1:]) for name in ("bare", "rule"))
        print(f"{engine:8} {rows:,} rows: bare scan {scan:.2f}, reading rule {ruled:.2f} {kind}, {ruled / scan:.2f} times", flush=True)


if __name__ == "__main__":
    main()
