"""A corpus of documents that are cut, an engine that tells which texts it was given, and the rows of a version, for tests of `sync`."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.versions import BASE, UPSERTS, read_version
from embermill.jobs.engine import Embedded
from embermill.jobs.run import run
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import SyncOptions, sync
from embermill.jobs.sync.summary import SyncSummary
from tests.jobs.chunk_engine import ChunkEngine
from tests.jobs.command_line import command
from tests.jobs.sync.corpus import Row, live_rows, settings_of


class TellingChunkEngine(ChunkEngine):
    """Keeps every text that it was given."""

    given: ClassVar[list[str]] = []

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        def told() -> Iterator[pa.Array]:
            for batch in texts:
                TellingChunkEngine.given += batch.to_pylist()
                yield batch

        yield from super().embed(told())

    @classmethod
    def taken(cls) -> list[str]:
        """What it was given since the last look."""
        found, cls.given = cls.given, []
        return sorted(found)


ENGINE = "python:tests.jobs.sync.chunks:TellingChunkEngine"


def settings(root: Path, where: str = "out", /, **sections: dict[str, Any]) -> JobConfig:
    values: dict[str, dict[str, Any]] = {
        "model": {"engine": ENGINE, "on_long_text": "split"}, "chunk": {"keep_text": True},
        "corpus": {"complete": True, "max_deleted_share": 0.9, "partition_text_bytes": 30_000}, "output": {"shard_bytes": 4000},
    }  # fmt: skip
    for name, section in sections.items():
        values.setdefault(name, {}).update(section)
    given = settings_of(root, where)
    return JobConfig.model_validate(given | {name: given.get(name, {}) | section for name, section in values.items()})


NO_OPTIONS = SyncOptions()


def begin(root: Path, **sections: dict[str, Any]) -> None:
    run(settings(root, **sections))
    TellingChunkEngine.taken()


def bring(root: Path, chosen: SyncOptions = NO_OPTIONS, *, clean: bool = True, **sections: dict[str, Any]) -> SyncSummary:
    """Sync, and hold what came of it against a run from nothing and against what was there: rows, texts that were embedded, deletes, balance, files."""
    out, config = str(root / "out"), settings(root, **sections)
    known = texts_known(out)
    before = {*live_rows(out)}
    summary = sync(config, chosen)
    given = TellingChunkEngine.taken()
    if summary.action != "committed":
        assert not given
        return summary
    live = live_rows(out, without=("version",))
    if clean:
        fresh = settings(root, f"fresh-{summary.version}", **sections)
        run(fresh)
        TellingChunkEngine.taken()
        expected = live_rows(fresh.output.uri, without=("version",))
        assert live == expected
        texts = {row["text_hash"]: row["prefix"] + row["text"] for row in expected.values()}
        assert given == sorted(text for digest, text in texts.items() if digest not in known)
        assert summary.texts_embedded == len(given)
    told = summary.documents
    assert told is not None and told["live"] == len({row["document_id"] for row in live.values()})
    assert (summary.rows_new, summary.rows_deleted) == (len({*live} - before), len(before - {*live}))
    assert summary.rows == len(live) == summary.rows_new + summary.rows_moved + summary.rows_unchanged
    assert not clean or summary.texts_embedded + summary.vectors_copied == summary.rows_new + summary.rows_moved
    version = read_version(open_folder(out))
    assert (version.totals["rows"], version.totals["documents"]) == (len(live), told["live"])
    require_whole_documents(out)
    assert not [name for name, _ in open_folder(out).list("_embermill/sync") if "/texts/" in name or "/cut/" in name]
    assert command("verify", out).code == 0
    return summary


def texts_known(uri: str) -> set[str]:
    """Hashes of the texts that the files of the newest version hold, live or not."""
    folder, found = open_folder(uri), set[str]()
    for file in read_version(folder).of_kind(BASE, UPSERTS):
        with folder.open(file.name) as opened:
            found |= {*pq.read_table(opened, columns=["text_hash"]).column(0).to_pylist()}
    return found


def require_whole_documents(uri: str) -> None:
    """Each version of a document lies in one file, its chunks one after another."""
    seen = set[tuple[Any, int]]()
    folder = open_folder(uri)
    for file in read_version(folder).of_kind(BASE, UPSERTS):
        with folder.open(file.name) as opened:
            rows = pq.read_table(opened).to_pylist()
        at = 0
        while at < len(rows):
            first = rows[at]
            key = (first["document_id"], first.get("version", 1))
            assert key not in seen, key
            seen.add(key)
            document = rows[at : at + first["chunk_count"]]
            assert [row["chunk_index"] for row in document] == [*range(first["chunk_count"])]
            assert {(row["document_id"], row["document_hash"]) for row in document} == {(first["document_id"], first["document_hash"])}
            at += len(document)


def prose(seed: int, words: int = 300) -> str:
    """Sentences and paragraphs of words that say where they are from."""
    chosen = random.Random(seed)
    ends = ["", "", "", "", ".", ".\n", ".\n\n"]
    return " ".join(f"w{chosen.randrange(10_000)}{chosen.choice(ends)}" for _ in range(words))


def documents(count: int, words: int = 300, first: int = 0) -> list[Row]:
    return [{"id": f"d{number}", "text": prose(number, words), "lang": "en"} for number in range(first, first + count)]
