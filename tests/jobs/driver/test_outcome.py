"""What the end of a run comes to, in words."""

from __future__ import annotations

import pytest

from embermill.jobs.driver.outcome import failures_as_error
from embermill.jobs.errors import DataError, InputChanged, Interrupted
from embermill.jobs.receipt import Failed


def test_equal_words_of_many_partitions_are_told_once() -> None:
    changed = [Failed(number, "input_changed", "a.parquet: changed") for number in range(40)]
    error = failures_as_error([*changed, Failed(40, "input_changed", "b.parquet: vanished")])
    assert isinstance(error, InputChanged)
    assert str(error).splitlines()[1:] == ["input_changed: a.parquet: changed (40 partitions)", "input_changed: b.parquet: vanished"]


@pytest.mark.parametrize(("number", "rest"), [(5, []), (6, ["… and 1 more partition"]), (8, ["… and 3 more partitions"])])
def test_of_many_words_the_first_are_told(number: int, rest: list[str]) -> None:
    lines = str(failures_as_error([Failed(n, "storage", f"no luck {n}") for n in range(number)])).splitlines()
    assert len(lines) == 1 + 5 + len(rest) and lines[6:] == rest


def test_what_a_person_must_mend_goes_before_what_another_run_may() -> None:
    failures = [Failed(0, "storage", "slow down"), Failed(1, "bad_data", "not UTF-8"), Failed(2, "input_changed", "changed")]
    assert isinstance(failures_as_error(failures), DataError) and "\nbad_data: not UTF-8\n" in str(failures_as_error(failures))
    assert isinstance(failures_as_error(failures[:1]), Interrupted)
    defect = failures_as_error([*failures, Failed(3, "defect", "KeyError", "the traceback")])
    assert isinstance(defect, RuntimeError) and str(defect).endswith("the traceback")


@pytest.mark.parametrize(("kind", "helps"), [("storage", True), ("engine", True), ("input_changed", False)])
def test_running_again_is_advised_only_where_it_can_help(kind: str, helps: bool) -> None:
    assert ("running again" in str(failures_as_error([Failed(0, kind, "what happened")]))) == helps
