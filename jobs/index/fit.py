"""Whether a table that is there can take the rows: it may be somebody's own. Looked at before the first write; what a server would say comes too late."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from embermill.jobs.errors import UsageError
from embermill.jobs.index.sql import CURSOR_TABLE

ADVICE = "name a new one, which is created as it must be"


@dataclass(frozen=True)
class Column:
    """Of a table that is there. must: a row that says nothing of it is refused there."""

    name: str
    type: str
    must: bool = False


def same(name: str) -> str:
    return name


def folded(name: str) -> str:
    """As DuckDB compares names: the letters A to Z without case, any other with it."""
    return name.encode().lower().decode()


def require_columns(
    where: str, there: Sequence[Column], wanted: Mapping[str, str], takes: Callable[[str, str], bool], fold: Callable[[str], str] = same
) -> None:
    """UsageError where rows of these columns (name -> type) find no place. takes(column's type, row's type): whether such a value goes in."""
    columns = {fold(column.name): column for column in there}
    if missing := [name for name in wanted if fold(name) not in columns]:
        named = "column" if len(missing) == 1 else "columns"
        has = ", ".join(column.name for column in there)
        raise UsageError(f"{where}: the table that is there has no {named} {', '.join(missing)} (it has {has}): {ADVICE}, or give columns its names with --map")
    for name, kind in wanted.items():
        if not takes(columns[fold(name)].type, kind):
            raise UsageError(f"{where}: column {name} of the table that is there is {columns[fold(name)].type}, expected {kind}: {ADVICE}")
    ours = {fold(name) for name in wanted}
    if left := [column.name for column in there if column.must and fold(column.name) not in ours]:
        raise UsageError(f"{where}: the table that is there wants a value in column {left[0]} of every row, and the rows of the dataset have none: {ADVICE}")


def require_distinct(where: str, names: Sequence[str], fold: Callable[[str], str]) -> None:
    """UsageError where a target takes two of these columns for one."""
    first = dict[str, str]()
    for name in names:
        if (other := first.setdefault(fold(name), name)) != name:
            raise UsageError(f"{where}: takes the columns {other} and {name} for one: rename one of them with --map")


def refuse_view(where: str, name: str) -> NoReturn:
    raise UsageError(f"{where}: {name} is a view there, and rows go into tables: name the table behind it, or a new one")


def require_name(shown: str, table: str, fold: Callable[[str], str] = same) -> str:
    """The same. UsageError for the table that keeps the cursors."""
    if fold(table) == CURSOR_TABLE:
        raise UsageError(f"target {shown}: embermill keeps in {CURSOR_TABLE} how far each table is: name another table")
    return table
