"""Rows and columns held against the limits of a target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from embermill.jobs.index.limits import Limit, Limits
from embermill.jobs.index.rows import Rows
from embermill.jobs.index.rules import RULES, Form

MAX_NAMED = 10  # of each limit; all are counted
MAX_SHOWN = 60  # characters of an id


@dataclass(frozen=True)
class Violation:
    """A limit that `count` rows (or columns) go beyond, the first ten of them named. Where limit.remedy is set they are converted, not refused."""

    limit: Limit
    count: int
    named: tuple[str, ...]

    @property
    def is_refused(self) -> bool:
        return not self.limit.remedy

    def __str__(self) -> str:
        more = f" and {self.count - len(self.named):,} more" if self.count > len(self.named) else ""
        remedy = f"; {self.limit.remedy}" if self.limit.remedy else ""
        return f"{self.limit.told} ({self.limit.mark}), beyond it: {', '.join(self.named)}{more}{remedy}"


def find_violations(limits: Limits, ids: pa.Array, metadata: pa.RecordBatch, vectors: np.ndarray | None = None) -> tuple[Violation, ...]:
    """Of a batch of rows. ids: [N], strings or integers, never null. metadata: the columns that go into the index, under the names that they have there.
    vectors: [N, dim]. For more batches than one: ViolationCount."""
    count = ViolationCount(limits)
    count.add(ids, metadata, vectors)
    return count.violations


def find_form_violations(limits: Limits, form: Form) -> tuple[Violation, ...]:
    """Of what is known before a row is read: the types and names of the columns, dimensions, the number of rows."""
    return tuple(_form_violations(limits, form))


class ViolationCount:
    """Over many batches, in bounded memory. dim: of the vectors, for the size of a row where they are not given."""

    def __init__(self, limits: Limits, dim: int = 0) -> None:
        self._dim = dim
        self._limits = [limit for limit in limits.limits if RULES[limit.rule].rows is not None]
        self._counts = [0] * len(self._limits)
        self._named: list[list[str]] = [[] for _ in self._limits]

    def add(self, ids: pa.Array, metadata: pa.RecordBatch, vectors: np.ndarray | None = None) -> None:
        """As find_violations."""
        rows = Rows(ids, metadata, vectors, self._dim)
        for place, limit in enumerate(self._limits):
            check = RULES[limit.rule].rows
            assert check is not None
            found = check(rows, limit.value)
            offending = np.flatnonzero(found.mask)
            self._counts[place] += len(offending)
            for row in offending[: MAX_NAMED - len(self._named[place])].tolist():
                self._named[place].append(_named(ids[row].as_py(), found.measure(row)))

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What was found so far, the refused ones first."""
        found = [Violation(limit, count, tuple(named)) for limit, count, named in zip(self._limits, self._counts, self._named, strict=True) if count]
        return tuple(sorted(found, key=lambda violation: not violation.is_refused))


def _form_violations(limits: Limits, form: Form) -> Iterator[Violation]:
    for limit in limits.limits:
        if (check := RULES[limit.rule].form) is not None and (found := check(form, limit.value)):
            yield Violation(limit, len(found), tuple(found[:MAX_NAMED]))


def _named(key: object, measure: str) -> str:
    text = str(key)
    shown = repr(text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…") if isinstance(key, str) else text
    return f"{shown} ({measure})" if measure else shown
