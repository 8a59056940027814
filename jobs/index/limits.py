"""What each search index takes, as published: every limit with its source, and whether the project's own study has seen or tried it.

A limit without a source is not recorded, and so not checked. `recorded.py` holds the tables, `violations.py` applies them to rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from embermill.jobs.errors import UsageError
from embermill.jobs.index import recorded
from embermill.jobs.index.rules import RULES


@dataclass(frozen=True)
class Source:
    """Where a limit is written. date: when it was read there (YYYY-MM-DD). confirmed: the project's study of indexes read it in the
    named source, or tried it; any other limit is printed as unconfirmed."""

    where: str
    date: str
    confirmed: bool


@dataclass(frozen=True)
class Limit:
    """rule: a key of RULES, which says what `value` means. remedy: "" where rows beyond the limit are refused; else how to convert them, which a loader
    or an export does by itself, so that they are worth knowing and no violation."""

    rule: str
    value: Any
    source: Source
    remedy: str = ""

    @property
    def told(self) -> str:
        """In words: "ids of at most 512 characters"."""
        return RULES[self.rule].tell(self.value)

    @property
    def mark(self) -> str:
        """Printed behind it: where it is from, and whether it is confirmed."""
        return f"{self.source.where}, {self.source.date}" + ("" if self.source.confirmed else "; unconfirmed")


@dataclass(frozen=True)
class Limits:
    """Everything recorded of one target. name: its key in TARGETS. title: as its makers spell it."""

    name: str
    title: str
    limits: tuple[Limit, ...]

    def value(self, rule: str) -> Any:
        """Of a rule, for instance "batch_rows"; None where nothing is recorded."""
        return next((limit.value for limit in self.limits if limit.rule == rule), None)


def _read(name: str, title: str, sources: Mapping[str, tuple[str, str, bool]], rows: tuple[tuple[Any, ...], ...]) -> Limits:
    return Limits(name, title, tuple(Limit(rule, value, Source(*sources[source]), *remedy) for rule, value, source, *remedy in rows))


TARGETS: dict[str, Limits] = {name: _read(name, title, recorded.SOURCES, rows) for name, (title, rows) in recorded.TARGETS.items()}


def limits_of(target: str) -> Limits:
    """target: a name in TARGETS. UsageError, with the nearest one, for any other."""
    if target in TARGETS:
        return TARGETS[target]
    close = get_close_matches(target, TARGETS, n=1)
    raise UsageError(f"unknown target {target!r}: " + (f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(TARGETS)}"))
