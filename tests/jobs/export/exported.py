"""A dataset of two versions to export, and kills at every point of an export."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

import embermill
from tests.jobs.command_line import command, run
from tests.jobs.worked_on import inline_pools

ROWS = 60
KINDS = pa.schema(
    [
        ("id", pa.string()), ("text", pa.string()), ("lang", pa.string()), ("size", pa.uint32()), ("score", pa.float64()), ("good", pa.bool_()),
        ("tags", pa.list_(pa.string())), ("when", pa.timestamp("us", "UTC")),
    ]
)  # fmt: skip
KEPT = [name for name in KINDS.names if name not in ("id", "text")]


def corpus_rows(edited: str) -> list[dict[str, Any]]:
    """Without d3 and d4 where something is edited."""
    return [
        {
            "id": f"d{row}/\"", "text": f"text {row}{edited if row % 7 == 0 else ''}", "lang": None if row % 5 == 0 else "näh\n\\", "size": row,
            "score": float("nan") if row == 6 else row / 3, "good": row % 2 == 0, "tags": ["a", f"b{row}"], "when": datetime(2026, 1, 1, 0, row, tzinfo=UTC),
        }
        for row in range(ROWS) if not (edited and row in (3, 4))
    ]  # fmt: skip


def make_dataset(folder: Path) -> Path:
    """Version 1 of ROWS rows in several shards, version 2 with edits and deletes."""
    (folder / "corpus").mkdir(parents=True)
    for edited, name in (("", "run"), (" edited", "sync")):
        pq.write_table(pa.Table.from_pylist(corpus_rows(edited), KINDS), folder / "corpus/a.parquet", row_group_size=10)
        corpus = {"keep_columns": KEPT, "partition_text_bytes": 100, "complete": True, "max_deleted_share": 0.5}
        with inline_pools():
            answer = run(folder, name=name, output="articles", corpus=corpus)
        assert answer.code == 0, answer.errors
    return answer.output


def rows_of(dataset: Path, version: int | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = embermill.open_dataset(str(dataset), version).read_all().to_pylist()
    return found


def export(dataset: Path, name: str, out: Path, *arguments: str, code: int = 0) -> Any:
    answer = command("export", str(dataset), "--format", name, "--out", str(out), *arguments)
    assert answer.code == code, answer.errors
    return answer


class Killed(BaseException):
    """In place of SIGKILL: nothing catches it."""


@contextmanager
def killed_at(owner: Any, name: str, count: int, *, before: bool) -> Iterator[Callable[[], bool]]:
    """The count-th call of owner.name ends the process, before or after it did its work. Gives: whether it did."""
    calls, real = 0, getattr(owner, name)
    happened = False

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal calls, happened
        calls += 1
        if calls == count and before:
            happened = True
            raise Killed
        found = real(*arguments, **options)
        if calls == count:
            happened = True
            raise Killed
        return found

    with mock.patch.object(owner, name, deadly):
        yield lambda: happened


def small_pieces() -> mock._patch_dict | Any:
    """Every format cuts after a few rows, so that few rows are many pieces."""
    return mock.patch.multiple("embermill.jobs.export.formats.files", LINES_BYTES=5_000, PARQUET_BYTES=2_000, ROW_GROUP_BYTES=1_000)


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
