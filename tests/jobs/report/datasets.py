"""Datasets for reports: one with hostile refused rows, and one that a sync has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.jobs.command_line import Answer, run

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken=2'>\u2028\"'&"
LIMIT = 6  # words


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"row-{number:04d}", "text": " ".join(f"word{number % (5 + k)}" for k in range(1 + number % 10)), "title": f"title {number}"} | more


def write_corpus(folder: Path, rows: list[dict[str, Any] | str], name: str = "rows.jsonl") -> None:
    (folder / "corpus").mkdir(exist_ok=True)
    lines = [each if isinstance(each, str) else json.dumps(each) for each in rows]
    (folder / "corpus" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def settings(folder: Path) -> dict[str, Any]:
    corpus = {"files": [str(folder / "corpus/*.jsonl")], "id_column": "id", "keep_columns": ["title"], "partition_text_bytes": 4000, "max_quarantined": 0.2}
    return {"corpus": corpus, "model": {"engine": "python:tests.jobs.word_engines:WordEngine", "max_tokens": LIMIT}}


def with_bad_rows(folder: Path, rows: int = 400) -> Answer:
    """One row in a hundred is refused: its id is markup and its text is missing, or the line is none."""
    good: list[dict[str, Any] | str] = [row(number) for number in range(rows)]
    for number in range(0, rows, 200):
        good[number] = {"id": HOSTILE, "title": HOSTILE, "text": None}
        good[number + 100] = '{"id": "' + HOSTILE.replace('"', "") + '", "title":'
    good[7] = row(7, title=HOSTILE, id=HOSTILE + "7")
    write_corpus(folder, good)
    return run(folder, **settings(folder))


def synced(folder: Path) -> tuple[Answer, Answer]:
    """A run, and a sync after which rows are new, changed and deleted."""
    rows = [row(number) for number in range(60)]
    write_corpus(folder, [*rows])
    sections = settings(folder)
    sections["corpus"]["complete"] = True
    sections["corpus"]["max_deleted_share"] = 0.5
    ran = run(folder, **sections)
    write_corpus(folder, [row(number) if number % 7 else row(number, text=f"another text {number}") for number in range(5, 80)])
    return ran, run(folder, name="sync", **sections)
