"""A feed written into a folder of its own, for programs that take files."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.dataset.views.feed import Feed
from embermill.jobs.dataset.views.live import batch_groups, open_rows
from embermill.jobs.errors import UsageError
from embermill.jobs.storage import naming_folder
from embermill.jobs.storage.local_path import local_path

ROWS_PER_FILE = 1 << 17


def write_net(feed: Feed, out: str | None) -> dict[str, int]:
    """{"upserts", "deletes"}: how many rows the net feed has; with `out` they are in OUT/upserts/ and OUT/deletes/. UsageError where OUT holds something."""
    with contextlib.nullcontext() if out is None else _new_folder(out) as folder:
        return _write_net(feed, folder)


def _write_net(feed: Feed, folder: Path | None) -> dict[str, int]:
    upserts = sum(batch.num_rows for batch in feed.upserts([feed.live.plan.rows.id_name])) if folder is None else _write_upserts(feed, folder)
    deletes = feed.deletes().rename_columns([feed.live.plan.rows.id_name, "version"])
    if folder is not None and deletes.num_rows:
        (folder / "deletes").mkdir()
        pq.write_table(deletes, folder / "deletes/part-000000000.parquet", compression="zstd")
    return {"upserts": upserts, "deletes": deletes.num_rows}


def copy_files(feed: Feed, out: str) -> None:
    """The files of the feed as they are, under their names."""
    with _new_folder(out) as folder:
        for each in feed.files():
            target = folder / each.file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with open_rows(feed.live.folder, each.file.name), feed.live.folder.open(each.file.name) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)


def _write_upserts(feed: Feed, folder: Path) -> int:
    written = 0
    for number, batches in enumerate(batch_groups(feed.upserts(), ROWS_PER_FILE)):
        table = pa.Table.from_batches(batches)
        (folder / "upserts").mkdir(exist_ok=True)
        pq.write_table(table, folder / f"upserts/part-{number:09d}.parquet", compression="zstd")
        written += table.num_rows
    return written


@contextlib.contextmanager
def _new_folder(out: str) -> Iterator[Path]:
    """Of a feed that was not written to its end nothing stays there: the same command begins anew."""
    folder = local_path(out)
    with naming_folder(folder, f"--out {out}: cannot be written"):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"--out {out}: holds something already: expected a new or an empty folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
