"""Progress as a line of a log that a person reads and a program, too: the words first, then the record.

    1,234 rows · 5,678 tokens/s · 3/40 partitions | progress {"rows": 1234, …}
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields

from embermill.jobs.driver.snapshot import Snapshot

MARK = " | progress "
FIELDS = frozenset(field.name for field in fields(Snapshot))
ALWAYS = frozenset(field.name for field in fields(Snapshot) if field.default is MISSING)  # later ones are not in every record


def record(words: str, what: Snapshot | str) -> str:
    """The line. what: a snapshot, or the words of a phase."""
    held = {"phase": what} if isinstance(what, str) else what.to_json()
    return f"{words}{MARK}{json.dumps(held)}"


def read_record(line: str) -> Snapshot | str | None:
    """What the line tells of; None where it is none of these lines. Fields that a newer version adds are passed over."""
    _, mark, text = line.partition(MARK)
    if not mark:
        return None
    try:
        held = json.loads(text)
    except ValueError:
        return None
    if not isinstance(held, dict):
        return None
    if isinstance(phase := held.get("phase"), str):
        return phase
    return Snapshot(**{name: held[name] for name in FIELDS & held.keys()}) if held.keys() >= ALWAYS else None
