"""What a format is to the exporter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from embermill.jobs.errors import UsageError
from embermill.jobs.export.source import Part, Source

ID, VECTOR, KEPT = "id", "vector column", "kept columns"
EVERYTHING = (ID, VECTOR, KEPT)


class Format(ABC):
    """Made once for an export; its methods are called in this order: prepare, written, then write until all rows are, then finish.

    An export may be killed at any instant and is then begun again with what `written` says. write must leave under its name all of a piece or nothing.
    """

    limits: ClassVar[str] = ""
    """Whose recorded limits the rows are held against beforehand; "" for none."""
    options: ClassVar[Mapping[str, str]] = {}
    """Name -> default of what --option sets."""
    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    """Vectors that it can hold; empty for any."""
    renames: ClassVar[tuple[str, ...]] = ()
    """Of ID, VECTOR and KEPT, those that have a name in it which --map may choose; others have the dataset's, or the format's own."""

    def __init__(self, source: Source, out: Path, options: Mapping[str, str]) -> None:
        self.source, self.out, self.chosen = source, out, {**self.options, **options}

    def prepare(self) -> None:
        """Refuse what this format cannot hold, before anything is written: UsageError."""
        vector = self.source.columns.vector
        if self.dtypes and vector.dtype not in self.dtypes:
            raise UsageError(f"this format holds {' or '.join(self.dtypes)}, the column {vector.column!r} is {vector.dtype}: choose another with --vector")
        self._require_renaming()

    def _require_renaming(self) -> None:
        columns = self.source.columns
        kinds = {columns.id: ID, columns.vector.column: VECTOR}
        for name, other in columns.names.items():
            if name != other and kinds.get(name, KEPT) not in self.renames:
                known = f"can rename {' and '.join(self.renames)}, nothing else" if self.renames else "keeps the dataset's names: leave out --map"
                raise UsageError(f"--map {name}={other}: this format {known}")

    def written(self, noted: int) -> int:
        """How many rows are there for good; noted: those of the pieces that were noted. A format that commits by itself knows better."""
        return noted

    @abstractmethod
    def write(self, number: int, first_row: int, parts: Iterator[Part]) -> tuple[str, int]:
        """Piece `number`, which begins at that row, of as many of the next parts as it holds (at least one): its name and rows."""
        ...

    def finish(self) -> tuple[str, ...]:
        """All rows are there: write what lies beside them; the names of that. May be called again."""
        return ()


def is_flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise UsageError(f"--option {name}={value}: expected true or false")
    return value == "true"
