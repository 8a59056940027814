"""What a person sees of a run: phases before the first token, a bar that fits a terminal of 80 columns, and records that a program reads back."""

from __future__ import annotations

import io
import logging
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from embermill.jobs.driver.display import Bar, Lines, Records, describe
from embermill.jobs.driver.progress_record import read_record, record
from embermill.jobs.driver.snapshot import Snapshot
from embermill.jobs.receipt import STAGES

SHARES = {stage: 0.25 for stage in STAGES}
MIDWAY = Snapshot(1_234_567_890, 987_654_321_000, 123_456.7, 12_345_678.9, 123_456, 234_567, 0.42, 10**12, 123_456.0, SHARES, "tokenizer", 64)
counts = st.integers(0, 10**13)
speeds = st.floats(0, 1e9, allow_nan=False)
snapshots = st.builds(
    Snapshot, counts, counts, speeds, speeds, counts, counts, st.floats(0, 1), counts, st.none() | speeds, st.just(SHARES), st.just("reader"), counts
)


def last_frame(written: str) -> str:
    """The last line that a terminal would show. Control sequences are left out."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).replace("\r", "\n").rstrip("\n").splitlines()[-1]


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_bar_keeps_its_percentage_however_narrow_the_terminal_is(columns: int) -> None:
    terminal = io.StringIO()
    bar = Bar(Console(file=terminal, force_terminal=True, width=columns, color_system=None))
    bar.__enter__()
    bar.show(MIDWAY, 0.0)
    bar._progress.refresh()
    frame = last_frame(terminal.getvalue())
    bar.__exit__(None, None, None)
    assert frame.lstrip().startswith("42%") and "━" in frame and len(frame) <= columns and "1,234,567" in frame


@pytest.mark.parametrize("kind", [Bar, Lines, Records])
def test_a_phase_is_shown_before_anything_is_counted(kind: type[Bar | Lines | Records], caplog: pytest.LogCaptureFixture) -> None:
    terminal = io.StringIO()
    shown = Bar(Console(file=terminal, force_terminal=True, width=80)) if kind is Bar else kind()
    with caplog.at_level(logging.INFO, "embermill.jobs.progress"), shown:
        for words in ("starting Ray", "starting 2 workers", "starting 2 workers"):
            shown.phase(words)
        if isinstance(shown, Bar):
            shown._progress.refresh()
    assert "starting 2 workers" in (terminal.getvalue() if kind is Bar else caplog.text)
    assert len(caplog.messages) == (0 if kind is Bar else 2), "a phase is told once"


def test_workers_that_are_ready_and_have_embedded_nothing_say_what_they_do() -> None:
    waiting = Snapshot(0, 0, 0.0, 0.0, 0, 8, 0.0, 10**6, None, dict.fromkeys(STAGES, 0.0), "", 2)
    assert describe(waiting).startswith("2 workers ready, computing the first batch")


@pytest.mark.parametrize("kind", [Lines, Records])
def test_the_first_token_is_told_at_once_and_what_follows_from_time_to_time(kind: type[Lines | Records], caplog: pytest.LogCaptureFixture) -> None:
    waiting = Snapshot(0, 0, 0.0, 0.0, 0, 8, 0.0, 10**6, None, dict.fromkeys(STAGES, 0.0), "", 2)
    with caplog.at_level(logging.INFO, "embermill.jobs.progress"), kind() as shown:
        for now_s, snapshot in ((0.0, waiting), (0.5, waiting), (1.0, MIDWAY), (1.5, MIDWAY), (4.0, MIDWAY), (11.5, MIDWAY)):
            shown.show(snapshot, now_s)
    assert ["tokens/s" in line for line in caplog.messages] == [False, True, True]


@given(snapshots | st.text(max_size=60))
def test_a_record_is_read_back_as_it_was_written(what: Snapshot | str) -> None:
    line = record("words", what)
    assert "\n" not in line and read_record(f"12:00:01 {line}") == what


@given(st.text())
def test_other_lines_are_no_records(line: str) -> None:
    assert read_record(line) is None


@pytest.mark.parametrize("line", ["x | progress ", "x | progress []", "x | progress {", 'x | progress {"rows": 1}', "x | progress null"])
def test_broken_records_are_none(line: str) -> None:
    assert read_record(line) is None


def test_a_record_of_a_newer_version_is_read() -> None:
    line = record("words", MIDWAY).replace('{"rows"', '{"later": 1, "rows"')
    assert read_record(line) == MIDWAY


def test_rows_are_called_what_they_are_and_copies_have_no_tokens_a_second() -> None:
    assert describe(MIDWAY).startswith("1,234,567,890 rows · 12,345,679 tokens/s · ")
    assert describe(replace(MIDWAY, unit="chunk")).startswith("1,234,567,890 chunks · ")
    copied = replace(MIDWAY, unit="chunk", copies=True)
    assert describe(copied).startswith("1,234,567,890 chunks copied · 123,457 chunks/s · ") and "token" not in describe(replace(copied, bound=""))
    assert describe(replace(copied, tokens=0, workers=1)).startswith("1 worker ready, copying the first vectors")


def test_a_record_of_an_older_version_is_read() -> None:
    line = record("words", MIDWAY)
    older = line.replace(', "unit": "row", "copies": false', "")
    assert older != line and read_record(older) == MIDWAY
