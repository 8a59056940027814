"""`export`: a version of a dataset in another format, resumable at any instant."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, cast

from embermill.jobs.dataset.metadata.versions import documents_of
from embermill.jobs.dataset.metadata.why_empty import why_empty
from embermill.jobs.dataset.views.opening import open_version
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.export import FORMATS
from embermill.jobs.export.formats.format import Format
from embermill.jobs.export.source import Source
from embermill.jobs.export.state import State, open_state
from embermill.jobs.index.check import check
from embermill.jobs.index.columns import index_columns
from embermill.jobs.storage import naming_folder, open_folder
from embermill.jobs.storage.local_path import local_path


@dataclass(frozen=True)
class ExportReport:
    """resumed_rows: that an earlier call had written already. beside: what describes the rows, relative to `out`: an id map, a mapping, a card.
    documents: of a dataset of chunks, whose rows are chunks. empty: why no row is live, where that is known."""

    root: str
    version: int
    format: str
    out: str
    rows: int
    resumed_rows: int
    beside: tuple[str, ...]
    documents: int | None = None
    empty: str | None = None

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"beside": [*self.beside]}


def export(
    uri: str,
    name: str,
    out: str | Path,
    *,
    version: int | None = None,
    vector: str | None = None,
    names: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    on_rows: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write the rows of a version into the folder `out`, or what of them is missing there; on_rows(done, of all) after each piece.

    names, vector: as index_columns has them. Raises UsageError for what the call has wrong, and where `out` holds something else; CheckFailed, before anything
    is written, where the format's reader would refuse rows; AnotherRun where somebody else writes there.
    """
    folder = local_path(str(out))
    with naming_folder(folder, f"--out {out}: cannot be written"):
        return _export(uri, name, folder, version, vector, names, dict(options or {}), on_rows)


def _export(
    uri: str, name: str, out: Path, version: int | None, vector: str | None, names: Mapping[str, str] | None, chosen: dict[str, str],
    on_rows: Callable[[int, int], None] | None,
) -> ExportReport:  # fmt: skip
    kind, folder = find_format(name), open_folder(uri)
    if unknown := [key for key in chosen if key not in kind.options]:
        raise UsageError(f"--option {unknown[0]}: {name} has no such option: " + (f"expected {', '.join(kind.options)}" if kind.options else "it has none"))
    plan, found = open_version(folder, version)
    source = Source(folder, plan, found, index_columns(plan, vector, names))
    format = kind(source, out, chosen)
    format.prepare()
    made = {"format": name, "dataset": source.dataset, "version": found.number, "vector": source.columns.vector.column, "names": dict(names or {})}
    with open_state(out, made | {"options": format.chosen}, folder.root) as state:
        if kind.limits and not state.pieces:
            check(uri, kind.limits, version=found.number, vector=vector, names=names)
        resumed = source.rows if state.is_finished else _write(format, state, on_rows)
    documents, empty = documents_of(folder, plan, found), why_empty(folder, found)
    return ExportReport(folder.root, found.number, name, str(out), source.rows, resumed, state.beside, documents, empty)


def find_format(name: str) -> type[Format]:
    if name not in FORMATS:
        close = get_close_matches(name, FORMATS, n=1)
        raise UsageError(f"--format {name}: " + (f"did you mean {close[0]}?" if close else f"expected one of {', '.join(FORMATS)}"))
    module, _, kind = FORMATS[name].partition(":")
    return cast(type[Format], getattr(importlib.import_module(f"embermill.jobs.export.formats.{module}"), kind))


def _write(format: Format, state: State, on_rows: Callable[[int, int], None] | None) -> int:
    """Every row that is missing; how many were there."""
    source = format.source
    resumed = done = format.written(state.rows)
    parts = source.parts(done)
    for first in parts:
        name, rows = format.write(len(state.pieces), done, chain([first], parts))
        done += rows
        state.note(name, rows)
        if on_rows is not None:
            on_rows(done, source.rows)
    if done != source.rows:
        raise DataError(f"{source.folder.root}: version {source.version.number} says {source.rows:,} rows, {done:,} came: `embermill verify` says more")
    state.finish(format.finish())
    return resumed
