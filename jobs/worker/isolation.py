"""Which rows of a batch an engine fails on: the batch is halved until each that fails stands alone; all others are embedded, each once.

An engine that fails on everything is no fault of the rows: before a batch of which both halves fail is taken apart, the engine must embed a sentence that
nothing is wrong with. Where it cannot, the batch fails as a whole, and the driver looks whether another worker can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embermill.counts import several
from embermill.credentials import without_credentials
from embermill.jobs.engine import Embedded, Engine, StoredRows
from embermill.jobs.errors import EngineError

SOUND = "The quick brown fox jumps over the lazy dog."


@dataclass(frozen=True)
class Isolated:
    """embedded: of the texts that are left, None where none is. failed: place in the batch -> what the engine said of it."""

    embedded: Embedded | None
    failed: dict[int, str]


def embed_or_isolate(engine: Engine, texts: pa.Array, may_isolate: bool) -> Isolated:
    """One batch in a stream of its own; where that fails and it may, row by row. Else raises what the engine raises."""
    try:
        embedded = embed_alone(engine, texts)
    except Exception:
        if not may_isolate:
            raise
        return isolate(engine, texts)
    found = finite_rows(embedded) if may_isolate else Isolated(embedded, {})
    return isolate(engine, texts) if found.embedded is None else found


def embed_alone(engine: Engine, texts: pa.Array) -> Embedded:
    """One batch, in a stream of its own. Raises what the engine raises, EngineError where it gives other than one answer."""
    answers = list(engine.embed(iter([texts])))
    if len(answers) != 1:
        raise EngineError(f"the engine gave {several(len(answers), 'answer')} to one batch")
    return answers[0]


def isolate(engine: Engine, texts: pa.Array) -> Isolated:
    """texts: [B], a batch that the engine failed on. Raises what the engine raises where it fails on everything."""
    parts = [*_taken_apart(engine, texts, 0)]
    embedded = [part.embedded for part in parts if part.embedded is not None]
    return Isolated(join(embedded) if embedded else None, {place: error for part in parts for place, error in part.failed.items()})


def finite_rows(embedded: Embedded, first: int = 0) -> Isolated:
    """An answer less its rows that hold NaN or an infinity; an answer of another form is for the writer to judge. first: place of its first row."""
    failed = dict[int, str]()
    for name, vectors in embedded.columns.items():
        values = np.asarray(vectors)
        if values.dtype.kind != "f" or values.ndim != 2 or np.isfinite(values).all():
            continue
        for row in np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist():
            bad = values[row][~np.isfinite(values[row])]
            failed.setdefault(first + row, f"column {name!r}: the engine gave {bad[0]} in {bad.size} of {several(values.shape[1], 'place')}")
    if not failed:
        return Isolated(embedded, {})
    stay = np.setdiff1d(np.arange(len(embedded.num_tokens)), np.array([place - first for place in failed]))
    return Isolated(embedded.take(stay) if len(stay) else None, failed)


def join(parts: list[Embedded]) -> Embedded:
    """Answers to texts that follow one another, as one."""
    stored = [part.stored for part in parts if part.stored is not None]
    return Embedded(
        {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        np.concatenate([part.num_tokens for part in parts]),
        np.concatenate([part.num_tokens_dropped for part in parts]),
        _join_stored(stored) if stored else None,
    )


def _join_stored(parts: list[StoredRows]) -> StoredRows:
    """Of one engine: all of its answers have them, or none."""
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    return StoredRows(np.concatenate([part.rows for part in parts]), columns)


def _taken_apart(engine: Engine, texts: pa.Array, first: int) -> Iterator[Isolated]:
    """What becomes of runs of texts that follow one another. texts: known to fail, all of them or as a batch."""
    middle = len(texts) // 2
    halves = [(first, texts[:middle]), (first + middle, texts[middle:])] if middle else [(first, texts)]
    tried = [_try(engine, half, place) for place, half in halves]
    if first == 0 and all(isinstance(found, Exception) for found in tried):
        _require_sound(engine)
    for (place, half), found in zip(halves, tried, strict=True):
        if isinstance(found, Isolated):
            yield found
        elif len(half) == 1:
            said = str(found) if isinstance(found, EngineError) else f"{type(found).__name__}: {found}"
            yield Isolated(None, {place: without_credentials(said)})  # it is kept in the quarantine
        else:
            yield from _taken_apart(engine, half, place)


def _try(engine: Engine, texts: pa.Array, first: int) -> Isolated | Exception:
    """Exception where nothing of it was embedded."""
    try:
        embedded = embed_alone(engine, texts)
    except Exception as error:
        return error
    if len(embedded.num_tokens) != len(texts):
        return EngineError(f"the engine gave {several(len(embedded.num_tokens), 'answer')} to {several(len(texts), 'text')}")
    found = finite_rows(embedded, first)
    return EngineError(next(iter(found.failed.values()))) if found.embedded is None else found


def _require_sound(engine: Engine) -> None:
    found = _try(engine, pa.array([SOUND], pa.string()), 0)
    if isinstance(found, Exception):
        raise found
