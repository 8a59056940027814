"""How far a target is: a few lines of JSON that lie in the target itself, written together with its rows or after them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from embermill.jobs.errors import UsageError

CURSOR_FORMAT = 1


class CursorDamaged(UsageError):
    """What stands where a cursor should is none. `--adopt` passes it over."""


@dataclass(frozen=True)
class Loading:
    """A version that is being loaded. to: which. done: the numbers of its files that are in the target, as ranges [first, end)."""

    to: int
    done: tuple[tuple[int, int], ...] = ()

    def has(self, number: int) -> bool:
        return any(first <= number < end for first, end in self.done)

    def with_file(self, number: int) -> Loading:
        return replace(self, done=_joined([*self.done, (number, number + 1)]))


@dataclass(frozen=True)
class Cursor:
    """What a target holds. dataset: which one, by its digest. fingerprint: what made the vectors. form: what is stored of them, and under which names.

    version: all of it is there; 0: none is. loading: the next one, some files of which may be there already.
    """

    dataset: str
    fingerprint: Mapping[str, str]
    form: Mapping[str, Any]
    version: int = 0
    loading: Loading | None = None
    written_by: str = field(default="", compare=False)

    def to_text(self) -> str:
        return json.dumps({"cursor_format": CURSOR_FORMAT} | asdict(self), separators=(",", ":"), ensure_ascii=False)

    def begun(self, to: int) -> Cursor:
        """On the way to that version, with what is there of it already."""
        return self if self.loading is not None and self.loading.to == to else replace(self, loading=Loading(to))

    def with_file(self, number: int) -> Cursor:
        if self.loading is None:
            raise ValueError("no version is being loaded")
        return replace(self, loading=self.loading.with_file(number))

    def reached(self, version: int) -> Cursor:
        return replace(self, version=version, loading=None)


def read_cursor(text: str, where: str) -> Cursor:
    """UsageError for one that another version of embermill wrote, CursorDamaged for what is none. where: the target, in words."""
    try:
        stored = json.loads(text)
        if (found := stored.pop("cursor_format")) != CURSOR_FORMAT:
            raise UsageError(f"{where}: expected a cursor of format {CURSOR_FORMAT}, got {found}: use the version of embermill that loaded it")
        loading = stored.pop("loading")
        spans = None if loading is None else Loading(int(loading["to"]), tuple((int(first), int(end)) for first, end in loading["done"]))
        return Cursor(loading=spans, **stored)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CursorDamaged(f"{where}: its cursor is damaged ({error}): drop the collection and load it again, or load it with --adopt") from None


def _joined(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Ranges that touch as one, in order."""
    joined: list[tuple[int, int]] = []
    for first, end in sorted(spans):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((first, end))
    return tuple(joined)
