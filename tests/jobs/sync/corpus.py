"""A corpus that changes, an engine that tells what it was given, and the rows of a version: for tests of `sync`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.versions import BASE, DELETES, UPSERTS, read_version
from embermill.jobs.engine import Embedded
from embermill.jobs.storage import open_folder
from tests.jobs.word_engines import WordEngine

Row = dict[str, Any]
LONG_AGO_S = 1_700_000_000


class TellingEngine(WordEngine):
    """Keeps every text that it was given."""

    given: ClassVar[list[str]] = []

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        def told() -> Iterator[pa.Array]:
            for batch in texts:
                TellingEngine.given += batch.to_pylist()
                yield batch

        yield from super().embed(told())

    @classmethod
    def taken(cls) -> list[str]:
        """What it was given since the last look."""
        found, cls.given = cls.given, []
        return sorted(found)


class PoisonedEngine(TellingEngine):
    """Fails on a text that begins with "poison"."""

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        for batch in texts:
            if any(text.startswith("poison") for text in batch.to_pylist()):
                raise RuntimeError("poison")
            yield from super().embed([batch])


def row(identity: str, text: str, lang: str = "en") -> Row:
    return {"id": identity, "text": text, "lang": lang}


class Corpus:
    """Files of JSON lines in a folder, all written long ago unless `now` is said."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, list[Row]] = {}
        root.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, rows: list[Row], *, at_s: float | None = None, raw: str = "") -> None:
        """raw: lines that stand after the rows. at_s: its time; else one that no file had before."""
        self.files[name] = rows
        path = self.root / name
        path.write_text("".join(json.dumps(each) + "\n" for each in rows) + raw)
        Corpus.clock_s += 10
        when = Corpus.clock_s if at_s is None else at_s
        os.utime(path, (when, when))

    clock_s = float(LONG_AGO_S)

    def remove(self, name: str) -> None:
        del self.files[name]
        (self.root / name).unlink()

    def rename(self, name: str, other: str) -> None:
        self.files[other] = self.files.pop(name)
        (self.root / name).rename(self.root / other)

    @property
    def rows(self) -> dict[str, Row]:
        """By id; the first in corpus order counts."""
        found: dict[str, Row] = {}
        for name in sorted(self.files):
            for each in self.files[name]:
                found.setdefault(each["id"], each)
        return found


def settings_of(root: Path, output: str = "out", **sections: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A job over root/corpus. output: a name below root, or a URL."""
    values: dict[str, dict[str, Any]] = {
        "model": {"engine": "python:tests.jobs.sync.corpus:TellingEngine"},
        "corpus": {"files": [str(root / "corpus/*.jsonl")], "keep_columns": ["lang"], "partition_text_bytes": 700},
        "output": {"uri": output if "://" in output else str(root / output)},
        "workers": {"count": 1},
    }
    for key, section in sections.items():
        values.setdefault(key, {}).update(section)
    return values


def configure(root: Path, output: str = "out", **sections: dict[str, Any]) -> JobConfig:
    return JobConfig.model_validate(settings_of(root, output, **sections))


def live_rows(uri: str, version: int | None = None, without: tuple[str, ...] = ()) -> dict[str, Row]:
    """Current rows by id, by the reading rule, with all their columns but those."""
    folder = open_folder(uri)
    found = read_version(folder, version)
    rows: dict[str, Row] = {}
    newest: dict[str, int] = {}
    for file in found.of_kind(BASE, UPSERTS, DELETES):
        with folder.open(file.name) as opened:
            for each in pq.read_table(opened).to_pylist():
                identity, number = next(iter(each.values())), each.get("version", 1)
                if newest.get(identity, 0) <= number:
                    newest[identity], rows[identity] = number, each
    live = {identity: each for identity, each in rows.items() if "reason" not in each}
    return {identity: {name: value for name, value in each.items() if name not in without} for identity, each in live.items()}
