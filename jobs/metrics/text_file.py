"""Prometheus' text format (version 0.0.4) in a file, which is replaced whole each time: node_exporter's textfile collector reads it (name it *.prom)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from embermill.jobs.errors import UsageError
from embermill.jobs.metrics.measures import Sample


class TextFile:
    """UsageError where the file cannot be made."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        if not self._path.parent.is_dir():
            raise UsageError(f"--metrics {path}: there is no folder {self._path.parent}")
        if not os.access(self._path.parent, os.W_OK):
            raise UsageError(f"--metrics {path}: the folder {self._path.parent} cannot be written to")

    def write(self, dataset: str, samples: list[Sample]) -> None:
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")  # node_exporter reads *.prom alone
        try:
            beside.write_text(exposition(dataset, samples), encoding="utf-8")
            beside.replace(self._path)
        finally:
            beside.unlink(missing_ok=True)


def exposition(dataset: str, samples: Iterable[Sample]) -> str:
    """All samples of a measure together, after its help and its kind."""
    by_measure: dict[str, list[Sample]] = {}
    for sample in samples:
        by_measure.setdefault(sample.measure.name, []).append(sample)
    return "".join(line for together in by_measure.values() for line in _lines(dataset, together))


def _lines(dataset: str, samples: list[Sample]) -> Iterable[str]:
    measure = samples[0].measure
    yield f"# HELP {measure.name} {measure.help}\n# TYPE {measure.name} {measure.kind}\n"
    for sample in samples:
        labels = {"dataset": dataset, **dict(zip(measure.labels, sample.labels, strict=True))}
        written = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
        yield f"{measure.name}{{{written}}} {sample.value!r}\n"


def _escaped(value: str) -> str:
    """A path may be no valid Unicode; the format is UTF-8."""
    text = value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
