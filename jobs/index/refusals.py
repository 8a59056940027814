"""What a load refuses before it writes anything: a target that holds something else, rows that the target cannot take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from embermill.counts import several
from embermill.jobs.bookkeeping.stored_keys import describe_changes
from embermill.jobs.engine import FINGERPRINT_IF_ABSENT
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.index import Standing, Target
from embermill.jobs.index.cursor import Cursor, CursorDamaged, read_cursor
from embermill.jobs.index.limits import limits_of
from embermill.jobs.index.rules import RULES, Form
from embermill.jobs.index.source import Source
from embermill.jobs.index.violations import Violation, ViolationCount, find_form_violations


def cursor_for(source: Source, standing: Standing | None, where: str, adopt: bool) -> Cursor:
    """Where the load begins: the target's own cursor, or one that has nothing yet. where: the target, in words. UsageError where it cannot be loaded into."""
    empty = Cursor(source.dataset, source.plan.fingerprint, source.form, written_by=source.folder.root)
    if standing is None:
        return empty
    _require_shape(source, standing, where)
    if standing.cursor is None:
        if standing.rows and not adopt:
            raise UsageError(
                f"{where}: holds {several(standing.rows, 'row')} and no cursor, so `embermill load` did not write them: name a new one, "
                "or take it over with --adopt, which writes every row of the dataset again and leaves others as they are"
            )
        return empty
    try:
        found = read_cursor(standing.cursor, where)
    except CursorDamaged:
        if not adopt:
            raise
        return empty
    _require_same_vectors(found, empty, where)
    if found.dataset != empty.dataset:
        if not adopt:
            raise UsageError(f"{where}: was loaded from {_of_another(found, empty)}: name a new one, or take it over with --adopt")
        return empty
    return replace(found, fingerprint=empty.fingerprint, written_by=empty.written_by)


def _require_shape(source: Source, standing: Standing, where: str) -> None:
    """What the target itself says of its vectors."""
    layout, advice = source.layout, "name a new one, which is created as it must be"
    if standing.dimensions not in (None, layout.vector.dimensions):
        raise UsageError(f"{where}: has vectors of {standing.dimensions} dimensions, those of {source.folder.root} have {layout.vector.dimensions}: {advice}")
    if standing.metric not in (None, layout.metric):
        raise UsageError(f"{where}: compares by {standing.metric}, expected {layout.metric}: give ?metric={standing.metric} in its address, or {advice}")


def _require_same_vectors(found: Cursor, wanted: Cursor, where: str) -> None:
    is_other, place = found.dataset != wanted.dataset, "a new table, collection or file"
    if changes := describe_changes(found.fingerprint, wanted.fingerprint, FINGERPRINT_IF_ABSENT):
        held = f"was loaded from {_of_another(found, wanted)}, with vectors of another model" if is_other else "holds vectors of another model"
        raise UsageError(
            f"{where}: {held}: fingerprint: {'; '.join(changes)}: load into {place}, compare the two, and move the alias (--alias) or your application to it"
        )
    if not (changes := describe_changes(_told(found.form), _told(wanted.form))):
        return
    if is_other:
        said = f"was loaded from {_of_another(found, wanted)}, whose rows have another form than those of {wanted.written_by}"
        raise UsageError(f"{where}: {said}: {'; '.join(changes)}: load into {place}, or delete this one first")
    raise UsageError(
        f"{where}: holds {wanted.written_by} in another form: {'; '.join(changes)}: load as before (--vector, --map, ?metric=), or into {place}"
    )


def _of_another(found: Cursor, wanted: Cursor) -> str:
    """The dataset that was loaded, which may have lain where the one to be loaded lies now."""
    if found.written_by == wanted.written_by:
        return f"another dataset, which was at {found.written_by} before this one was made there"
    return f"another dataset ({found.written_by})"


def _told(form: Mapping[str, Any]) -> dict[str, Any]:
    """Names of columns as a sentence has them: "id, embedding, title as heading"."""
    columns = [source if source == name else f"{source} as {name}" for source, name in form.get("names", {}).items()]
    return {key: value for key, value in form.items() if key != "names"} | {"columns": ", ".join(columns)}


def require_loadable(source: Source, target: Target, rows: int, where: str) -> None:
    """UsageError for vectors or columns that such a target does not take. rows: how many there will be."""
    vector = source.layout.vector
    if vector.dtype not in target.dtypes:
        taken, note = " or ".join(target.dtypes), f" ({target.dtypes_note})" if target.dtypes_note else ""
        raise UsageError(f"{where}: takes {taken} vectors, the column {source.form['column']} holds {vector.dtype}{note}: choose another with --vector")
    if target.limits:
        form = Form(source.layout.id.type, source.form["column"], vector.dtype, vector.dimensions, pa.schema(source.layout.columns), rows)
        _refuse(find_form_violations(limits_of(target.limits), form), source, where)


def require_within_limits(source: Source, target: Target, batches: Iterable[pa.RecordBatch], where: str) -> None:
    """UsageError that names the first ten ids whose rows the target would refuse. batches: of all that is to be written, without vectors."""
    found = ViolationCount(limits_of(target.limits))
    for batch in batches:
        found.add(batch.column(source.layout.id.name), batch.drop_columns([source.layout.id.name]))
    _refuse(found.violations, source, where)


def limits_rows(target: Target) -> bool:
    """Whether one row may be beyond a limit of the target's, where others are not."""
    return bool(target.limits) and any(RULES[limit.rule].rows is not None and not limit.remedy for limit in limits_of(target.limits).limits)


def _refuse(found: Iterable[Violation], source: Source, where: str) -> None:
    if refused := [str(violation) for violation in found if violation.is_refused]:
        raise UsageError(f"{where}: nothing was written, since it would refuse rows of {source.folder.root}:\n  " + "\n  ".join(refused))


def require_unique_ids(source: Source, duplicates: int | None) -> None:
    """duplicates: as the run that made the dataset found; None: it did not look."""
    if duplicates:
        raise DataError(
            f"{source.folder.root}: {several(duplicates, 'id')} that several rows have, and an index has one row an id: "
            "`embermill verify` names them; make them unique in the corpus and run `embermill sync`"
        )
