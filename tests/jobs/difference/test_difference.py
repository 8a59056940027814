"""difference.py against a dictionary, row by row; and the cases of the design, each by name."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embermill.jobs.dataset.metadata.keys import keys_schema
from embermill.jobs.difference.difference import NO_FILE, UNKNOWN_FILE, Action, Files, difference, scan_schema

Row = dict[str, Any]


def digest(text: str | None, width: int) -> bytes | None:
    return None if text is None else text.encode().ljust(width, b"\0")


def keys(rows: list[Row], id_type: pa.DataType | None = None) -> pa.Table:
    """rows: id, text, meta, file."""
    id_type = id_type or pa.string()
    told = [
        {"id": row["id"], "text_hash": digest(row["text"], 16), "meta_hash": digest(row.get("meta", ""), 8), "file": row["file"],
         "shard": 9, "row": place, "version": 1}
        for place, row in enumerate(rows)
    ]  # fmt: skip
    return pa.Table.from_pylist(told, schema=keys_schema(id_type))


def scan(rows: list[Row], id_type: pa.DataType | None = None) -> pa.Table:
    id_type = id_type or pa.string()
    told = [
        {"id": row["id"], "text_hash": digest(row["text"], 16), "meta_hash": digest(row.get("meta", ""), 8), "file": row["file"], "part": 0, "row": place}
        for place, row in enumerate(rows)
    ]
    return pa.Table.from_pylist(told, schema=scan_schema(id_type))


def files(*states: str) -> Files:
    """ "scanned", "hidden" (scanned, with refused rows of unknown id), "same" or "gone", by number, in corpus order."""
    order = np.array([-1 if state == "gone" else place for place, state in enumerate(states)], np.int64)
    return Files(order, np.array([state in ("scanned", "hidden") for state in states]), np.array([state == "hidden" for state in states]))


def told(previous: list[Row], scanned: list[Row], *states: str) -> tuple[dict[str, list[Any]], int]:
    found = difference(keys(previous), scan(scanned), files(*states))
    rows: dict[str, list[Any]] = {}
    for row in found.rows.to_pylist():
        rows.setdefault(Action(row["action"]).name, []).append(row["id"])
    return {name: sorted(ids) for name, ids in rows.items()}, found.unchanged


def row(identity: str, text: str | None, file: int = 0, meta: str = "") -> Row:
    return {"id": identity, "text": text, "file": file, "meta": meta}


@pytest.mark.parametrize(
    ("previous", "scanned", "states", "expected", "unchanged"),
    [
        ([row("a", "x")], [row("a", "x")], ["scanned"], {}, 1),
        ([], [row("a", "x")], ["scanned"], {"EMBED_NEW": ["a"]}, 0),
        ([row("a", "x")], [row("a", "y")], ["scanned"], {"EMBED_CHANGED": ["a"]}, 0),
        ([row("a", "x")], [row("a", "y", meta="m")], ["scanned"], {"EMBED_CHANGED": ["a"]}, 0),
        ([row("a", "x")], [row("a", "x", meta="m")], ["scanned"], {"COPY": ["a"]}, 0),
        ([row("a", "x", 0)], [row("a", "x", 1)], ["scanned", "scanned"], {"MOVED": ["a"]}, 0),
        ([row("a", "x", 0)], [row("a", "x", 1)], ["gone", "scanned"], {"MOVED": ["a"]}, 0),
        ([row("a", "x", UNKNOWN_FILE)], [row("a", "x", 0)], ["scanned"], {"MOVED": ["a"]}, 0),
        ([row("a", "x", NO_FILE)], [], ["same"], {"MISSING": ["a"]}, 0),
        ([row("a", "x")], [], ["scanned"], {"MISSING": ["a"]}, 0),
        ([row("a", "x")], [], ["gone"], {"MISSING": ["a"]}, 0),
        ([row("a", "x")], [], ["same"], {}, 0),
        ([row("a", "x")], [row("a", None)], ["scanned"], {"STALE": ["a"]}, 0),
        ([row("a", "x")], [], ["hidden"], {"STALE": ["a"]}, 0),
        ([row("a", "x"), row("b", "y", 1)], [], ["hidden", "gone"], {"STALE": ["a"], "MISSING": ["b"]}, 0),
        ([], [row("a", None)], ["scanned"], {}, 0),
        ([], [row("a", "x"), row("a", "y")], ["scanned"], {"EMBED_NEW": ["a"], "DUPLICATE": ["a"]}, 0),
        ([row("a", "x")], [row("a", "x"), row("a", "y")], ["scanned"], {"DUPLICATE": ["a"]}, 1),
        ([row("a", "x")], [row("a", None), row("a", "x")], ["scanned"], {}, 1),
        ([row("a", "x", 0)], [row("a", "y", 1)], ["same", "scanned"], {"DUPLICATE": ["a"]}, 0),
        ([row("a", "x", 1)], [row("a", "y", 0)], ["scanned", "same"], {"EMBED_CHANGED": ["a"]}, 0),
        ([row("a", "x"), row("a", "x")], [row("a", "x")], ["scanned"], {"COPY": ["a"]}, 0),
    ],
)  # fmt: skip
def test_cases(previous: list[Row], scanned: list[Row], states: list[str], expected: dict[str, list[str]], unchanged: int) -> None:
    assert told(previous, scanned, *states) == (expected, unchanged)


def test_both_files_of_an_id_that_stands_in_two_are_remembered() -> None:
    lost = difference(keys([row("a", "x", 0)]), scan([row("a", "y", 1)]), files("same", "scanned"))
    won = difference(keys([row("a", "x", 1)]), scan([row("a", "y", 0)]), files("scanned", "same"))
    assert (lost.shadowed, won.shadowed) == (frozenset({1}), frozenset({1}))


def test_where_the_old_row_lies_is_told() -> None:
    found = difference(keys([row("z", "q"), row("a", "x")]), scan([row("a", "x", meta="m")]), files("scanned"))
    copied = next(each for each in found.rows.to_pylist() if each["action"] == Action.COPY)
    assert (copied["shard"], copied["shard_row"], copied["version"], copied["part"], copied["row"]) == (9, 1, 1, 0, 0)
    assert copied["meta_hash"] == digest("m", 8)


IDS = st.sampled_from("abcde")
ROWS = st.fixed_dictionaries({"id": IDS, "text": st.sampled_from("xy"), "meta": st.sampled_from(["", "m"]), "file": st.integers(0, 2)})
SCANNED = st.fixed_dictionaries({"id": IDS, "text": st.sampled_from(["x", "y", None]), "meta": st.sampled_from(["", "m"]), "file": st.integers(0, 2)})


@settings(max_examples=150)
@given(
    st.lists(ROWS, max_size=6, unique_by=lambda each: each["id"]),
    st.lists(SCANNED, max_size=8),
    st.lists(st.sampled_from(["scanned", "same", "gone"]), min_size=3, max_size=3),
)
def test_against_a_dictionary(previous: list[Row], scanned: list[Row], states: list[str]) -> None:
    scanned = [each for each in scanned if states[each["file"]] == "scanned"]
    scanned.sort(key=lambda each: each["file"])
    expected, unchanged = naive(previous, scanned, states)
    found, kept = told(previous, scanned, *states)
    assert ({name: sorted(ids) for name, ids in expected.items()}, unchanged) == (found, kept)


def naive(previous: list[Row], scanned: list[Row], states: list[str]) -> tuple[dict[str, list[str]], int]:
    before = {each["id"]: each for each in previous}
    rows: dict[str, list[str]] = {}
    unchanged = 0
    for identity in sorted({each["id"] for each in [*previous, *scanned]}):
        old, here = before.get(identity), [each for each in scanned if each["id"] == identity]
        good, refused = [each for each in here if each["text"] is not None], any(each["text"] is None for each in here)
        unopened = old is not None and states[old["file"]] == "same"
        if good and old is not None and unopened and old["file"] < good[0]["file"]:
            rows.setdefault("DUPLICATE", []).extend([identity] * len(good))
            continue
        if good:
            rows.setdefault("DUPLICATE", []).extend([identity] * (len(good) - 1))
            action = judge(old, good[0])
            unchanged += action is None
            if action is not None:
                rows.setdefault(action, []).append(identity)
        elif old is not None and not unopened:
            rows.setdefault("STALE" if refused else "MISSING", []).append(identity)
    return {name: ids for name, ids in rows.items() if ids}, unchanged


def judge(old: Row | None, new: Row) -> str | None:
    if old is None:
        return "EMBED_NEW"
    if old["text"] != new["text"]:
        return "EMBED_CHANGED"
    return "COPY" if old["meta"] != new["meta"] else "MOVED" if old["file"] != new["file"] else None


def test_integer_ids_and_large_tables_agree_with_sets() -> None:
    generator = np.random.default_rng(1)
    old, new = (np.unique(generator.integers(0, 30_000, 20_000)) for _ in range(2))
    previous = keys([{"id": int(each), "text": f"t{each % 97}", "file": 0} for each in old], pa.int64())
    scanned = scan([{"id": int(each), "text": f"t{each % 97 + (each % 11 == 0)}", "file": 0} for each in new], pa.int64())
    found = difference(previous, scanned, files("scanned"))
    counted = Counter(found.rows.column("action").to_pylist())
    both = set(old.tolist()) & set(new.tolist())
    assert counted[Action.EMBED_NEW] == len(set(new.tolist()) - both) and counted[Action.MISSING] == len(set(old.tolist()) - both)
    assert counted[Action.EMBED_CHANGED] == sum(each % 11 == 0 for each in both) and found.unchanged == sum(each % 11 != 0 for each in both)
