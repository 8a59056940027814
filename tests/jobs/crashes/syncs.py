"""A sync that is killed at each named point: a corpus in which everything happens at once, and what the version must be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from embermill.jobs.dataset.metadata.versions import read_versions
from embermill.jobs.storage import open_folder
from tests.jobs.crashes.scenarios import Scenario


def line(identity: str, text: str, lang: str = "en") -> str:
    return json.dumps({"id": identity, "text": text, "lang": lang}) + "\n"


class SyncScenario(Scenario):
    """Rows are edited, added, deleted, moved and given twice; kept columns change; a file goes, and another holds a line that is none."""

    def _begin_sync(self) -> str:
        self._write("a", [line(f"a{n}", f"text a {n}") for n in range(24)])
        self._write("b", [line(f"b{n}", f"text b {n}") for n in range(12)])
        self._write("c", [line(f"c{n}", f"text c {n}") for n in range(3)])
        output = f"{self._where}/sync-template"
        assert self._commands("run", str(self._job(output))) == 0, self._words()
        edited = [line(f"a{n}", f"text a {n}" + " edited" * (n % 5 == 0), "de" if n % 7 == 0 else "en") for n in range(2, 24)]
        self._write("a", edited)
        self._write("b", [line(f"b{n}", f"text b {n}") for n in range(12)] + [line("a1", "text a 1"), line("b0", "twice"), "{\n"])
        self._write("c", [line(f"c{n}", f"text c {n}") for n in (0, 2)] + [line(f"d{n}", "one text for many") for n in range(6)])
        return output

    def _write(self, name: str, lines: list[str]) -> None:
        self._put(f"{self._where}/sync-corpus-{name}.jsonl", "".join(lines).encode())

    def _job(self, output: str) -> Path:
        settings: dict[str, dict[str, Any]] = {
            "model": {"engine": "python:tests.jobs.engines:PlainEngine"},
            "corpus": {
                "files": [f"{self._where}/sync-corpus-*.jsonl"], "keep_columns": ["lang"], "partition_text_bytes": 60, "max_quarantined": 0.5,
                "complete": True, "max_deleted_share": 0.5,
            },
            "output": {"uri": output, "shard_bytes": 400},
            "workers": {"count": 1},
        }  # fmt: skip
        path = self._folder / f"{self.name}-{output.rpartition('/')[2]}.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path

    def _judge(self, output: str) -> Iterator[str]:
        yield from super()._judge(output)
        found, right = (read_versions(open_folder(each)) for each in (output, self.right))
        if [(version.state, version.cause) for version in found] != [(version.state, version.cause) for version in right]:
            yield f"versions {[(version.number, version.state, version.cause) for version in found]}"
        elif (found[-1].files, found[-1].totals) != (right[-1].files, right[-1].totals):
            yield f"the newest version has {set(found[-1].files) ^ set(right[-1].files)}, {found[-1].totals} instead of {right[-1].totals}"


class RemakeScenario(SyncScenario):
    """compact, rollback or erase, after a sync."""

    def _begin_remade(self) -> str:
        output = self._begin_sync()
        name, self.name = self.name, "sync"
        assert self._run(output) == 0, self._words()
        self.name = name
        (self._folder / "ids").write_text("a5\nb3\nd0\n")
        return output

    _begin_compact = _begin_rollback = _begin_erase = _begin_remade

    def _run(self, output: str, **environment: str) -> int:
        options = {"rollback": ["--to", "1"], "erase": ["--ids", str(self._folder / "ids")]}.get(self.name, [])
        return self._commands(self.name, output, *options, **environment) if self.name != "sync" else super()._run(output, **environment)
