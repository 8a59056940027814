"""Commands that make versions and are killed at each named point: a corpus in which everything happens at once, and what the version must be."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from embermill.jobs.dataset.metadata.versions import ABANDONED, COMMITTED, UPSERTS, read_version, read_versions
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.plan.dataset_format import ensure_format, read_format
from embermill.jobs.plan.files import require_plan
from embermill.jobs.shard.text_hash import hash_texts
from embermill.jobs.storage import Folder, open_folder
from tests.jobs.crashes.decoded import holders, read_column
from tests.jobs.crashes.scenarios import Point, Scenario

PARTITION_BYTES = 60
IN_FLIGHT = 2  # partitions of one worker: it reads the next one ahead
REUSED = 0.9  # of the vectors that were finished when the corpus changed


def line(identity: str, text: str, lang: str = "en") -> str:
    return json.dumps({"id": f"{identity}-id", "text": text, "lang": lang}) + "\n"


class SyncScenario(Scenario):
    """Rows are edited, added, deleted, moved and given twice; kept columns change; a file goes, and another holds a line that is none."""

    def _begin_sync(self) -> str:
        self._write("a", [line(f"a{n}", f"text a {n}") for n in range(24)])
        self._write("b", [line(f"b{n}", f"text b {n}") for n in range(12)])
        self._write("c", [line(f"c{n}", f"text c {n}") for n in range(3)])
        output = f"{self._where}/sync-template"
        self._before_the_run(output)
        assert self._commands("run", str(self._job(output))) == 0, self._words()
        edited = [line(f"a{n}", f"text a {n}" + " edited" * (n % 5 != 1), "de" if n % 7 == 0 else "en") for n in range(2, 24)]
        self._write("a", edited)
        self._write("b", [line(f"b{n}", f"text b {n}") for n in range(12)] + [line("a1", "text a 1"), line("b0", "twice"), "{\n"])
        self._write("c", [line(f"c{n}", f"text c {n}") for n in (0, 2)] + [line(f"d{n}", "one text for many") for n in range(6)])
        return output

    def _before_the_run(self, output: str) -> None:
        pass

    def _write(self, name: str, lines: list[str]) -> None:
        self._put(f"{self._where}/sync-corpus-{name}.jsonl", "".join(lines).encode())

    def _job(self, output: str) -> Path:
        settings: dict[str, dict[str, Any]] = {
            "model": {"engine": "python:tests.jobs.crashes.engine:TellingEngine"},
            "corpus": {
                "files": [f"{self._where}/sync-corpus-*.jsonl"], "keep_columns": ["lang"], "partition_text_bytes": PARTITION_BYTES, "max_quarantined": 0.5,
                "complete": True, "max_deleted_share": 0.5,
            },
            "output": {"uri": output, "shard_bytes": 400},
            "workers": {"count": 1},
        }  # fmt: skip
        path = self._folder / f"{self.name}-{output.rpartition('/')[2]}.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    def _run(self, output: str, **environment: str) -> int:
        return super()._run(output, TEXTS=str(self._told(output)), **environment)

    def _told(self, output: str) -> Path:
        """Every text that was embedded for this dataset after its run."""
        return self._folder / f"{self.name}-{output.rpartition('/')[2]}.texts"

    def _texts(self, output: str) -> Counter[str]:
        return Counter(self._told(output).read_text().splitlines() if self._told(output).exists() else [])

    def _judge(self, output: str) -> Iterator[str]:
        yield from super()._judge(output)
        found, right = (read_versions(open_folder(each)) for each in (output, self.right))
        if [(version.state, version.cause) for version in found] != [(version.state, version.cause) for version in right]:
            yield f"versions {[(version.number, version.state, version.cause) for version in found]}"
        elif (found[-1].files, found[-1].totals) != (right[-1].files, right[-1].totals):
            yield f"the newest version has {set(found[-1].files) ^ set(right[-1].files)}, {found[-1].totals} instead of {right[-1].totals}"
        yield from self._judge_texts(output)
        if self.name != "erase" and (changed := base_digests(output) ^ base_digests(self._started)):
            yield f"data/ is not as it was: {sorted(changed)}"

    @property
    def _started(self) -> str:
        assert self._template is not None
        return self._template

    def _judge_texts(self, output: str) -> Iterator[str]:
        """Nothing is embedded twice but what the one worker had in hand, and everything once."""
        once, found = self._texts(self.right), self._texts(output)
        again = found - once
        if found.keys() != once.keys() or sum(map(len, again.elements())) > IN_FLIGHT * PARTITION_BYTES:
            yield f"embedded {sorted(again.elements())} again, {sorted(found.keys() ^ once.keys())} otherwise than an undisturbed one"


class UpgradeScenario(SyncScenario):
    """The same sync, of a dataset of format 1."""

    def _begin_upgrade(self) -> str:
        return self._begin_sync()

    def _before_the_run(self, output: str) -> None:
        ensure_format(open_folder(output), 1)

    def _run(self, output: str, **environment: str) -> int:
        return self._commands("sync", str(self._job(output)), TEXTS=str(self._told(output)), **environment)

    def _look_at(self, output: str) -> Iterator[str]:
        yield from super()._look_at(output)
        folder = open_folder(output)
        if len(read_versions(folder)) > 1 and read_format(folder) != 2:
            yield "it has a second version and says that it is of format 1"


class ChangedScenario(SyncScenario):
    """A sync that is killed; then the corpus changes once more, and it is run again."""

    def _begin_changed(self) -> str:
        return self._begin_sync()

    def _run(self, output: str, **environment: str) -> int:
        return self._commands("sync", str(self._job(output)), TEXTS=str(self._told(output)), **environment)

    def round(self, point: Point, late_s: float = 0.5) -> list[str]:
        self._write("c", self._lines(more=0))
        return super().round(point, late_s)

    def _lines(self, more: int) -> list[str]:
        return [line(f"c{n}", f"text c {n}") for n in (0, 2)] + [line(f"d{n}", "one text for many") for n in range(6 + more)]

    def _watch(self, output: str) -> list[Point]:
        points = super()._watch(output)
        self._write("c", self._lines(more=3))
        self.changed = self._copy()
        assert self._run(self.changed) == 0, self._words()
        return points

    def _resume(self, output: str) -> Iterator[str]:
        self._write("c", self._lines(more=3))
        finished, before = finished_texts(open_folder(output)), self._texts(output)
        yield from super()._resume(output)
        again = {text_hash(text) for text in self._texts(output) - before} & finished
        if len(again) > (1 - REUSED) * len(finished):
            yield f"{len(again)} of {len(finished)} finished texts were embedded again"

    def _judge(self, output: str) -> Iterator[str]:
        found, right = (rows_of(each) for each in (output, self.changed))
        if found != right:
            yield f"rows {sorted(map(str, found.items() ^ right.items()))}"
        if base_digests(output) ^ base_digests(self._started):
            yield "data/ is not as it was"


class TouchedScenario(SyncScenario):
    """A sync of files that were written again as they were: it makes no version, and the next one opens none of them."""

    def _begin_touched(self) -> str:
        rows = {name: [line(f"{name}{n}", f"text {name} {n}") for n in range(6)] for name in "ab"}
        for name, lines in rows.items():
            self._write(name, lines)
        output = f"{self._where}/touched-template"
        assert self._commands("run", str(self._job(output))) == 0, self._words()
        time.sleep(0.02)  # another time on a disk
        for name, lines in {**rows, "c": []}.items():
            self._write(name, lines)
        return output

    def _run(self, output: str, **environment: str) -> int:
        return self._commands("sync", str(self._job(output)), TEXTS=str(self._told(output)), **environment)

    def _judge(self, output: str) -> Iterator[str]:
        yield from super()._judge(output)
        versions = [(version.number, version.state) for version in read_versions(open_folder(output))]
        if versions != [(1, COMMITTED), (2, ABANDONED)]:
            yield f"versions {versions}"
        before = {name for name, _ in open_folder(output).list("_embermill/versions")}
        if self._run(output) or before != {name for name, _ in open_folder(output).list("_embermill/versions")}:
            yield f"the next sync decided something: {self._words()}"


class RemakeScenario(SyncScenario):
    """compact, rollback or erase, after a sync."""

    ERASED = ("a5-id", "b3-id", "d0-id")

    def _begin_remade(self) -> str:
        output = self._begin_sync()
        name, self.name = self.name, "sync"
        assert self._run(output) == 0, self._words()
        self.name = name
        (self._folder / "ids").write_text("\n".join(self.ERASED))
        return output

    _begin_compact = _begin_rollback = _begin_erase = _begin_remade

    def _run(self, output: str, **environment: str) -> int:
        options = {"rollback": ["--to", "1"], "erase": ["--ids", str(self._folder / "ids")]}.get(self.name, [])
        return self._commands(self.name, output, *options, **environment) if self.name != "sync" else super()._run(output, **environment)

    def _judge(self, output: str) -> Iterator[str]:
        yield from super()._judge(output)
        if self.name == "erase" and (left := holders(open_folder(output), self.ERASED)):
            yield f"what was erased stands in {left}"


CLASSES: dict[str, type[Scenario]] = {
    **dict.fromkeys(("run", "redrive", "repair", "gc"), Scenario), "sync": SyncScenario, "changed": ChangedScenario, "upgrade": UpgradeScenario,
    "touched": TouchedScenario,
    **dict.fromkeys(("compact", "rollback", "erase"), RemakeScenario),
}  # fmt: skip


def base_digests(uri: str) -> set[tuple[str, str]]:
    """(name, sha256) of every file of data/."""
    folder = open_folder(uri)
    return {(name, hashlib.sha256(folder.read(name)).hexdigest()) for name, _ in folder.list("data")}


def text_hash(text: str) -> str:
    return str(hash_texts(pa.array([text], pa.string()))[0])


def finished_texts(folder: Folder) -> set[str]:
    """Hashes of the texts whose vectors stand in files of changes/."""
    return {each for name, _ in folder.list("changes") if f"/{UPSERTS}/" in name for each in read_column(folder, name, "text_hash")}


def rows_of(uri: str) -> dict[str, tuple[Any, ...]]:
    """Live rows by id, without the version that changed them."""
    folder = open_folder(uri)
    batches = LiveRows(folder, require_plan(folder), read_version(folder)).batches(["id", "embedding", "text_hash", "lang"])
    return {row["id"]: (tuple(row["embedding"]), row["text_hash"], row["lang"]) for batch in batches for row in batch.to_pylist()}
