"""The file of `--events`, line by line."""

from __future__ import annotations

import json
from pathlib import Path

from embermill.jobs.driver.events import EventsFile
from tests.jobs.fakes import receipt


def told(path: Path) -> list[tuple[str, int, int]]:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(event["output"] == "out" for event in events)
    return [(event["event"], event["partition"], event["ordinal"]) for event in events]


def test_what_others_stand_in_for_is_taken_back_once(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = EventsFile(path, "out")
    events.append([receipt(0), receipt(1, 0, last=False), receipt(1, 1)])
    for _ in range(2):  # a redrive, and another run after it
        EventsFile(path, "out").catch_up([receipt(0), receipt(2)], superseded={1})
    before = [("committed", 0, 0), ("committed", 1, 0), ("committed", 1, 1)]
    assert told(path) == [*before, ("committed", 2, 0), ("superseded", 1, 0), ("superseded", 1, 1)]


def test_what_no_line_tells_of_is_not_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventsFile(path, "another").append([receipt(1)])
    events = EventsFile(path, "out")
    events.catch_up([receipt(0)], superseded={1})
    assert [line["event"] for line in map(json.loads, path.read_text().splitlines())] == ["committed", "committed"]
