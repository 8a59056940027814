"""Speed, shares, bound and ETA from workers' reports; time is an argument."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest

from embermill.jobs.driver import display
from embermill.jobs.driver.progress import Meter
from embermill.jobs.receipt import Progress
from tests.jobs.fakes import partition, receipt


def report(number: int, rows: int, tokens: int, **seconds: float) -> Progress:
    return Progress(number, "encode", rows, tokens, 0.0, seconds)


def meter() -> Meter:
    """Four partitions of 100 bytes."""
    return Meter([partition(number) for number in range(4)])


def test_nothing_is_known_at_first() -> None:
    snapshot = meter().snapshot(10.0)
    assert (snapshot.rows, snapshot.tokens_per_s, snapshot.eta_s, snapshot.bound, snapshot.done_share) == (0, 0.0, None, "", 0.0)
    assert snapshot.tokens_left == 100, "a quarter of a token for each byte, until the corpus has told its own"


def test_speed_share_and_time_left_follow_what_was_done() -> None:
    progress = meter()
    progress.progress(Progress(0, "read", 0, 0, 0.0), 100.0)
    progress.progress(report(0, 10, 50, read=0.1, encode=1.9), 110.0)
    progress.committed(receipt(0, tokens=50))
    snapshot = progress.snapshot(110.0)
    assert (snapshot.rows, snapshot.rows_per_s, snapshot.tokens_per_s) == (10, 1.0, 5.0)
    assert (snapshot.partitions_done, snapshot.tokens_left, snapshot.eta_s, snapshot.done_share) == (1, 150, 30.0, 0.25)
    assert snapshot.stage_shares == pytest.approx({"read": 0.05, "tokenize": 0, "encode": 0.95, "write": 0}) and snapshot.bound == "encoder"


def test_before_anything_is_complete_what_has_come_back_tells_how_many_tokens_a_byte_gives() -> None:
    """Documents far longer than the model's limit: of 40 bytes two tokens were computed, so of all 400 it will be twenty, not a hundred."""
    progress = meter()
    progress.progress(Progress(0, "encode", 1, 2, 0.0, {}, 40), 1.0)
    assert progress.snapshot(2.0).tokens_left == 18
    progress.committed(receipt(0, tokens=4))
    assert progress.snapshot(2.0).tokens_left == 12, "from then on what is complete tells it"


def test_the_first_seconds_tell_no_time_left() -> None:
    progress = meter()
    progress.progress(Progress(0, "read", 0, 0, 0.0), 100.0)
    progress.progress(report(0, 1, 2), 103.0)
    assert [progress.snapshot(at).eta_s is None for at in (103.0, 104.9, 105.0)] == [True, True, False]


def test_tokens_that_are_embedded_and_not_committed_count_until_their_partition_is_given_back() -> None:
    progress = meter()
    progress.committed(receipt(0, tokens=50))
    progress.progress(report(1, 5, 20), 1.0)
    assert progress.snapshot(2.0).tokens_left == 130
    progress.given_back(1)
    assert progress.snapshot(2.0).tokens_left == 150
    progress.progress(report(1, 5, 20), 3.0)
    progress.committed(receipt(1, 0, last=False, tokens=20))
    assert progress.snapshot(3.0).tokens_left == 130


def test_speed_is_that_of_the_last_half_minute() -> None:
    progress = meter()
    for second in range(0, 100):
        progress.progress(report(0, 1, 10 if second < 60 else 100), float(second))
    assert progress.snapshot(99.0).tokens_per_s == pytest.approx(100, rel=0.05)


def test_a_slow_worker_that_is_computing_still_is_not_at_zero() -> None:
    progress = meter()
    progress.progress(Progress(0, "read", 0, 0, 0.0), 0.0)
    progress.progress(report(0, 10, 100), 10.0)
    for at in range(15, 100, 5):
        progress.progress(report(0, 0, 0), float(at))
    assert progress.snapshot(100.0).tokens_per_s == pytest.approx(1.0) and progress.snapshot(100.0).eta_s is not None


def test_what_was_committed_before_counts_as_done() -> None:
    progress = Meter([partition(number) for number in range(4)], [receipt(0, tokens=40), receipt(1, tokens=40)])
    assert (progress.snapshot(0.0).partitions_done, progress.snapshot(0.0).done_share, progress.snapshot(0.0).rows) == (2, 0.5, 0)


def test_everything_done_is_everything_done() -> None:
    progress = meter()
    for number in range(4):
        progress.committed(receipt(number, tokens=number))
        progress.committed(receipt(number, tokens=number))
    snapshot = progress.snapshot(1.0)
    assert (snapshot.done_share, snapshot.tokens_left, snapshot.partitions_done) == (1.0, 0, 4)


def test_lines_where_there_is_no_terminal(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    progress = meter()
    progress.progress(report(0, 1234, 50_000, encode=1.0), 0.0)
    with caplog.at_level(logging.INFO, "embermill.jobs.progress"), display.open_display() as shown:
        for second in range(25):
            shown.show(progress.snapshot(float(second)), float(second))
    assert len(caplog.messages) == 3 and "1,234 rows" in caplog.messages[0] and "bound by the encoder" in caplog.messages[0]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    progress = meter()
    progress.progress(report(0, 7, 50, encode=1.0), 0.0)
    with display.open_display() as shown:
        shown.show(progress.snapshot(1.0), 1.0)
    assert "7 rows" in terminal.getvalue()
