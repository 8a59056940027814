"""Erased ids that are also the names of corpus files, as those of documents are, and the files of a dataset that still name them.

A plan and the listing that the next sync compares with say which corpus files there are. A plan is never replaced, and what verifies, repairs or resumes a
dataset goes by it: so `erase` leaves both, and tells what it left.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from embermill.jobs.shard.contents import Damaged, open_parquet, row_groups
from embermill.jobs.storage import Folder
from embermill.jobs.storage.local import TMP

PATH_COLUMNS = ("path", "name")  # of a plan's files and pieces, and of a sync's listing
TABLES, TEXTS = (".pq", ".parquet"), (".json", ".md")


@dataclass(frozen=True)
class PathIds:
    """ids: those that are names of corpus files. files: of the dataset, that name one of them, in order."""

    ids: tuple[str, ...]
    files: tuple[str, ...]


def find_path_ids(folder: Folder, ids: pa.Array) -> PathIds:
    """ids: as an erasure has them. A file that cannot be read is passed over: `verify` names it."""
    texts, names = ids.cast(pa.string()), [name for name, _ in folder.list("_embermill") if not name.startswith(f"{TMP}/")]
    found, files = set[str](), list[str]()
    for name in names if len(texts) else ():
        if name.endswith(TABLES) and (named := _named_in(folder, name, texts)):
            found |= named
            files.append(name)
    if found:  # corpus.files may name one of them
        pattern = re.compile("|".join(rf'["/`]{re.escape(json.dumps(each, ensure_ascii=False)[1:-1])}["`]' for each in sorted(found)))
        files += [name for name in [*names, "README.md"] if name.endswith(TEXTS) and pattern.search(_text(folder, name))]
    return PathIds(tuple(sorted(found)), tuple(sorted(files)))


def _named_in(folder: Folder, name: str, texts: pa.Array) -> set[str]:
    try:
        with folder.open(name) as file, open_parquet(file) as parquet:
            columns = [column for column in PATH_COLUMNS if column in parquet.schema_arrow.names]
            if PATH_COLUMNS[0] not in columns:
                return set()
            named = (table.column(column).combine_chunks() for table in row_groups(parquet, columns) for column in columns)
            return {each for values in named for each in values.filter(pc.is_in(values, texts)).to_pylist()}
    except (Damaged, FileNotFoundError):
        return set()


def _text(folder: Folder, name: str) -> str:
    try:
        return folder.read(name).decode(errors="replace")
    except FileNotFoundError:
        return ""
