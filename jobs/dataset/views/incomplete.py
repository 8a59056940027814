"""What `verify` and `search` end with where a dataset is none yet, so that `verify && publish` publishes nothing that is missing rows.

Exit code 33 where the job is to be run again, 3 where it refused what it read. `report`: what would have been the answer, beside the error in JSON.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

from embermill.jobs.errors import DataError, Interrupted


class Report(Protocol):
    def to_json(self) -> dict[str, Any]: ...


class NotFinished(Interrupted):
    """A run is under way, or was stopped: the same job resumes it."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class RowsRefused(DataError):
    """The run or the sync refused every row, or more than corpus.max_quarantined allows."""

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


def refuse_incomplete(root: str, why: str, report: Report, *, refused: bool) -> NoReturn:
    """why: in words, as its dataset says it. refused: whether running the job again as it is would not help."""
    raise (RowsRefused if refused else NotFinished)(f"{root}: {why}", report)
