"""Damage, refused rows and what a version holds in sentences; numbers with what they count are in embermill.counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embermill.counts import agreeing, several


def live_rows(rows: int, documents: int | None = None) -> str:
    """What a version holds. documents: of a dataset of chunks, whose rows are chunks."""
    return several(rows, "row") if documents is None else f"{several(documents, 'document')}, {several(rows, 'chunk')}"


def units(chunked: bool) -> tuple[str, str]:
    """What is read from a corpus, and what a dataset holds of it."""
    return ("document", "chunk") if chunked else ("row", "row")


def describe_damage(error: Exception) -> str:
    """What an error of reading says of a file, without the name of a Python class."""
    if isinstance(error, KeyError):
        return f"it lacks {error.args[0]}" if error.args else "it lacks a key"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) or "it cannot be read"


def all_quarantined(rows: int, first: Mapping[str, Any] | None, folder: str = "quarantine/") -> str:
    """Why a corpus of so many rows gave none to embed. first, folder: as see_quarantine has them."""
    were = agreeing(rows, "its only row was", f"all {rows:,} rows were")
    return f"{were} quarantined, {see_quarantine(first, folder)}"


def see_quarantine(first: Mapping[str, Any] | None, folder: str = "quarantine/") -> str:
    """first: an entry of it, for an example. folder: in the dataset."""
    return f"see {folder} for the reasons" + (f" (the first: {describe_refusal(first)})" if first else "")


def describe_refusal(entry: Mapping[str, Any]) -> str:
    """An entry of the quarantine in one line: "/corpus/a.parquet, row 7: null_id: the id is null or absent". Rows and bytes are counted from 0."""
    places = [f"{word} {entry[key]}" for word, key in (("row", "first_row"), ("byte", "first_byte")) if entry[key] is not None]
    error = " ".join(entry["error"].replace(entry["file"] + ": ", "").split())
    return f"{', '.join([entry['file'], *places[:1]])}: {entry['reason']}: {error}"
