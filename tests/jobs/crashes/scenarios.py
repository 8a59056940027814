"""Commands that are killed at each named point, run again, and compared with an undisturbed one: what there is before, the command, and what is right after."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.dataset.views.compare import differences
from embermill.jobs.maintenance.garbage import Collected, collect
from embermill.jobs.storage import Folder, open_folder
from tests.jobs.crashes.server import Commands
from tests.jobs.stores.proxy import Faults, FaultyProxy

ROWS = 36
KILLED = -9
TWO_DAYS_S = 2 * 24 * 3600
OF_ITS_OWN = (  # how many there are depends on the kills
    *("_embermill/lease/", "_embermill/commits/", "_embermill/sync/000002/commits/", "_embermill/heartbeat.json", "_embermill/manifests/"),
    "_embermill/runs/",
)
Put = Callable[[str, bytes], None]


@dataclass(frozen=True)
class Point:
    """One that a command passes. file: the name of the file that it is about, in the dataset; "" for a step of the work."""

    name: str
    file: str

    @property
    def kind(self) -> str:
        """Without the count."""
        return self.name.rpartition(" ")[0]


class Scenario:
    """A command on one storage. where: a folder or URL for corpus and datasets. proxy: before the store, to hold requests back."""

    def __init__(self, name: str, commands: Commands, folder: Path, where: str, put: Put, proxy: FaultyProxy | None = None) -> None:
        self.name, self._commands, self._folder, self._where, self._proxy = name, commands, folder, where, proxy
        self._put, self._round = put, 0
        self._begin = getattr(self, f"_begin_{name}")
        self._template = self._begin()
        self.right = self._copy()
        self.points = self._watch(self.right)

    def round(self, point: Point, late_s: float = 0.5) -> list[str]:
        """Kill the command there, run it again; what is not as it should be."""
        output = self._copy()
        once = self._folder / f"{self.name}-{self._round}.once"
        if self._proxy is not None and point.name.startswith("late"):
            self._proxy.faults = Faults(late_puts=((point.file, late_s),))
        code = self._run(output, AT=point.name, VICTIM="self", ONCE=str(once))
        if self._proxy is not None:
            self._proxy.faults = Faults()
        if code != KILLED:
            return [f"exit {code} instead of being killed: {self._words()}"]
        return [*self._look_at(output), *self._resume(output), *self._judge(output)]

    def _look_at(self, output: str) -> Iterator[str]:
        """What is there can be looked at: no defect shows, and nothing is said to be damaged."""
        for command, unfinished in (("status", 0), ("verify", 33)):
            code = self._commands(command, output)
            refused = self.name == "redrive" and code == 3 and '"damaged": 0' in self._words()  # by the run, which is what a redrive is for
            if code not in (0, 2, unfinished) and not refused and not (code == 3 and self.name in ("repair", "gc")):  # they find damage, a strange shard
                yield f"{command} before it was run again: exit {code}: {self._words()}"

    def _resume(self, output: str) -> Iterator[str]:
        code = self._run(output)
        finished = self.name == "redrive" and code == 2 and read_manifest(open_folder(output)) is not None
        if code and not finished:
            yield f"run again: exit {code}: {self._words()}"
        if self._commands("verify", output) != (0 if read_manifest(open_folder(self.right)) is not None else 33):
            yield f"verify: {self._words()}"

    def _judge(self, output: str) -> Iterator[str]:
        yield from differences(open_folder(self.right), open_folder(output))
        collect_in_two_days(output)
        found, right = ({name for name, _ in open_folder(each).list() if not name.startswith(OF_ITS_OWN)} for each in (output, self.right))
        yield from (f"{name} is {'left' if name in found else 'gone'}" for name in sorted(found ^ right))

    def _watch(self, output: str) -> list[Point]:
        """The points of an undisturbed run, which makes what is right."""
        record = self._folder / f"{self.name}.points"
        code = self._run(output, RECORD=str(record))
        assert code == 0, self._words()
        collect_in_two_days(output)
        return _first_two_and_last([Point(*line.split("\t")) for line in record.read_text().splitlines()])

    def _run(self, output: str, **environment: str) -> int:
        if self.name not in ("run", "sync"):
            return self._commands(self.name, output, **environment)
        return self._commands(self.name, str(self._job(output)), **environment)

    def _words(self) -> str:
        return self._commands.words.read_text()[-1500:]

    # -- what there is before

    def _begin_run(self) -> str | None:
        self._write_corpus()
        return None

    def _begin_redrive(self) -> str:
        """Rows were refused; then they are corrected."""
        self._write_corpus(bad=True)
        output = f"{self._where}/{self.name}-template"
        code = self._commands("run", str(self._job(output)))
        assert code == 3, self._words()
        self._write_corpus()
        return output

    def _finished(self) -> str:
        self._write_corpus()
        output = f"{self._where}/{self.name}-template"
        assert self._commands("run", str(self._job(output))) == 0, self._words()
        return output

    def _begin_repair(self) -> str:
        """A shard is gone; another, a commit, a manifest and a file of the plan are damaged."""
        output = self._finished()
        folder = open_folder(output)
        files = [name for name, _ in folder.list()]
        shards = [name for name in files if name.startswith("data/")]
        folder.remove(shards[0])
        for kind in ("_embermill/commits/", "_embermill/manifests/", "_embermill/plan/000001/segments", "quarantine/"):
            name = next(name for name in files if name.startswith(kind))
            folder.replace(name, folder.read(name)[:-9])
        folder.replace(shards[1], b"PAR1 damaged")
        return output

    def _begin_gc(self) -> str:
        output = self._finished()
        folder = open_folder(output)
        for name in ("_embermill/tmp/part.host.1.abc", "_embermill/set_aside/part.data.0123", "data/part-000000099-000-01234567.parquet"):
            folder.create(name, b"left")
            os.utime(Path(output, name), (time.time() - TWO_DAYS_S,) * 2)
        return output

    def _write_corpus(self, *, bad: bool = False) -> None:
        lines = [json.dumps({"id": f"r{row}", "text": f"document {row} {'x' * (row % 7)}"}) for row in range(ROWS)]
        lines[20] = "{" if bad or self.name != "redrive" else lines[20]  # one stays refused, but where it is corrected
        self._put(f"{self._where}/{self.name}.jsonl", "\n".join(lines).encode())

    def _job(self, output: str) -> Path:
        settings: dict[str, dict[str, Any]] = {
            "model": {"engine": "python:tests.jobs.engines:PlainEngine"},
            "corpus": {"files": [f"{self._where}/{self.name}.jsonl"], "partition_text_bytes": 600, "max_quarantined": 0 if self.name == "redrive" else 0.5},
            "output": {"uri": output, "shard_bytes": 400},
            "workers": {"count": 1},
        }
        path = self._folder / f"{self.name}-{output.rpartition('/')[2]}.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    def _copy(self) -> str:
        """A dataset of its own, as the template is."""
        self._round += 1
        output = f"{self._where}/{self.name}-{self._round}"
        if self._template is not None and "://" not in output:
            shutil.copytree(self._template, output)
        elif self._template is not None:
            copy(open_folder(self._template), open_folder(output))
        return output


def _first_two_and_last(points: list[Point]) -> list[Point]:
    """Of each kind: a dozen shards are alike."""
    count = Counter(point.kind for point in points)
    return [point for point in points if (number := int(point.name.rpartition(" ")[2])) <= 2 or number == count[point.kind]]


def collect_in_two_days(output: str) -> Collected:
    """What `gc` leaves of the dataset then. The machine's own folder for temporary files is spared: others are at work there today."""
    with mock.patch("embermill.jobs.maintenance.garbage.list_scratch", return_value=[]):
        return collect(output, time.time() + TWO_DAYS_S)


def copy(source: Folder, target: Folder) -> None:
    for name, _ in source.list():
        target.replace(name, source.read(name))


def put_file(path: str, data: bytes) -> None:
    """As put_object of the tests, on a disk; written a while ago, since a sync opens again what was written within two seconds before it was listed."""
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()
    Path(path).write_bytes(data)
    written_s = time.time() - 10
    os.utime(path, (written_s, written_s))
