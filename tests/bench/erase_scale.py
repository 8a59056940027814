"""erase of many ids from a dataset that has been through everything: python -m tests.bench.erase_scale [--rows 100000] [--ids 1000]

A run; a sync that edits, adds, deletes, keeps other metadata and refuses rows of ids that are to go; one that is killed and abandoned; two more; a rollback
that is undone by the next sync; a compaction. The text itself is kept, too. Then the ids, the texts and the vectors of the rows that went are looked for in
every file, as it lies and decoded. Exit 1 where one is found.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import embermill
from embermill.jobs.dataset.metadata.versions import read_versions
from embermill.jobs.engine import Embedded, Output
from embermill.jobs.errors import UsageError
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.storage.local import LocalFolder
from embermill.jobs.sync.job import sync
from embermill.jobs.versions.compact import compact
from embermill.jobs.versions.erase import erase
from embermill.jobs.versions.making import make_version
from embermill.jobs.versions.rollback import rollback
from tests.bench.without_ray import without_ray
from tests.jobs.command_line import open_inline_pool
from tests.jobs.sync.corpus import Corpus, Row, configure, row

DIM = 8
FILES = 20


class Killed(BaseException):
    pass


class HashEngine:
    """A vector that no other text has."""

    def __init__(self, model: Any, *, device: str, threads: int) -> None: ...

    def fingerprint(self) -> dict[str, str]:
        return {"model.engine": "hash"}

    def outputs(self) -> tuple[Output, ...]:
        return (Output("embedding", "dense", "float32", DIM),)

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            counts = np.ones(len(batch), np.int32)
            yield Embedded({"embedding": np.stack([vector(text) for text in batch.to_pylist()])}, counts, counts * 0)


def vector(text: str) -> np.ndarray:
    digest = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=4 * DIM).digest(), np.uint32)
    return (digest / 2.0**32).astype(np.float32)


def settings(root: Path) -> Any:
    corpus = {"files": [str(root / "corpus/*.jsonl")], "keep_columns": ["lang", {"text": "source"}], "partition_text_bytes": 1 << 19}
    limits = {"complete": True, "max_quarantined": 0.5, "max_deleted_share": 0.5}
    sections: dict[str, Any] = {"model": {"engine": "python:tests.bench.erase_scale:HashEngine"}, "corpus": corpus | limits}
    return configure(root, **sections)


class Life:
    """texts: every text that an erased id ever had."""

    def __init__(self, root: Path, rows: int, ids: int) -> None:
        self.root, self.corpus, self.config = root, Corpus(root / "corpus"), settings(root)
        self.each = rows // FILES
        self.ids = [f"erased-{number:06d}" for number in range(ids)]
        self.gone, self.texts = {*self.ids}, set[str]()
        step = rows // ids
        self.names = [self.ids[n // step] if n % step == 0 and n // step < ids else f"document-{n:06d}" for n in range(rows)]
        for file in range(FILES):
            self.write(file, "first", range(self.each))

    def write(self, file: int, edition: str, numbers: Iterable[int], *, lang: str = "en", raw: str = "") -> None:
        """Rows `numbers` of a file in that edition, all others as they were."""
        name = f"{file:03d}.jsonl"
        rows: dict[str, Row] = {each["id"]: each for each in self.corpus.files.get(name, [])}
        for number in numbers:
            identity = self.names[file * self.each + number]
            rows[identity] = row(identity, f"{edition} text of {identity}, like no other", lang)
        self.texts |= {each["text"] for identity, each in rows.items() if identity in self.gone}
        self.corpus.write(name, [*rows.values()], raw=raw)

    def refuse(self) -> str:
        """Lines that are refused and name ids that are to go."""
        return "".join(json.dumps({"id": identity, "text": None, "lang": "xx"}) + "\n" for identity in self.ids[3:30:3])

    def live(self) -> None:
        run(self.config)
        for file in range(5):
            self.write(file, "second", range(0, self.each, 2), raw=self.refuse() if not file else "")
        self.write(5, "first", range(0, self.each, 3), lang="de")
        sync(self.config)
        self.write(6, "third", range(self.each))
        with contextlib.suppress(Killed), self.killed():
            sync(self.config)
        self.write(7, "third", range(0, self.each, 5))
        sync(self.config)
        make_version(str(self.root / "out"), "rollback", lambda folder, plan: rollback(folder, plan, 2))
        for name in ("018.jsonl", "019.jsonl"):
            self.corpus.remove(name)
        sync(self.config)
        make_version(str(self.root / "out"), "compact", compact)
        self.write(8, "fourth", range(0, self.each, 2))
        sync(self.config)

    @contextlib.contextmanager
    def killed(self) -> Iterator[None]:
        """After a file of upserts."""
        real, left = LocalFolder.publish, [1]

        def publish(folder: LocalFolder, temporary: Path, name: str) -> None:
            real(folder, temporary, name)
            left[0] -= "upserts" in name
            if not left[0]:
                raise Killed

        with mock.patch.object(LocalFolder, "publish", publish):
            yield


def traces(folder: Path, ids: set[str], texts: set[str]) -> Iterator[str]:
    """What of the rows stands in which file."""
    vectors = {vector(text).tobytes() for text in texts}
    hashes = {hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data, name = path.read_bytes(), path.relative_to(folder).as_posix()
        if b"erased-" in data or b"text of erased" in data:
            yield f"{name}: an id or a text, as it lies"
        if data.startswith(b"PAR1"):
            parquet = pq.ParquetFile(io.BytesIO(data))
            table = parquet.read()
            if "erased-" in str(parquet.metadata.metadata) + str(table.schema.metadata):
                yield f"{name}: an id in the footer"
            for column in table.column_names:
                if column == "embedding":
                    flat = np.asarray(table.column(column).combine_chunks().flatten(), np.float32).reshape(-1, DIM)
                    found = any(each.tobytes() in vectors for each in flat)
                else:
                    told = {str(each) for each in table.column(column).to_pylist()}
                    found = bool(told & (ids | texts | hashes)) or any("erased-" in each for each in told)
                if found:
                    yield f"{name}: column {column}"


def prove(root: Path, rows: int, ids: int) -> dict[str, Any]:
    """left: what is found of the rows that went. wrong: what else is not as it should be."""
    with contextlib.ExitStack() as patches:
        for module in ("run", "sync.stages"):
            patches.enter_context(mock.patch(f"embermill.jobs.{module}.open_pool", open_inline_pool))
        life = Life(root, rows, ids)
        life.live()
    out, gone = root / "out", {*life.ids}
    before = [*traces(out, gone, life.texts)]
    (root / "ids").write_text("\n".join(life.ids))
    begin = time.monotonic()
    erased = erase(str(out), str(root / "ids"))
    seconds, left = time.monotonic() - begin, [*traces(out, gone, life.texts)]
    wrong = []
    if {*embermill.open_dataset(str(out)).read_all().column("id").to_pylist()} != life.corpus.rows.keys() - gone:
        wrong.append("the rows that are left are not those of the corpus without these ids")
    with contextlib.suppress(UsageError):
        embermill.open_dataset(str(out), since=2)
        wrong.append("a cursor from before is not refused")
    states = [(version.number, version.state, version.cause) for version in read_versions(open_folder(str(out)), files=False)]
    told = {"files_before": len(before), "of": sorted({each.partition("/")[0] for each in before}), "left": left, "wrong": wrong}
    return told | {"rows_erased": erased.rows, "removed": len(erased.removed), "seconds": round(seconds, 1), "versions": states}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--ids", type=int, default=1_000)
    arguments = parser.parse_args()
    without_ray()
    with tempfile.TemporaryDirectory() as root:
        told = prove(Path(root), arguments.rows, arguments.ids)
    print(json.dumps(told))
    return 1 if told["left"] or told["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
