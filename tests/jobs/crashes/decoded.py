"""What stands in a dataset's files, as they lie and decoded."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pyarrow.parquet as pq

from embermill.jobs.storage import Folder

MAGIC = b"PAR1"


def decoded(data: bytes) -> str:
    """Every value of a Parquet file, and its footer; "" for another file."""
    if not data.startswith(MAGIC):
        return ""
    parquet = pq.ParquetFile(io.BytesIO(data))
    return f"{parquet.read().to_pylist()} {parquet.metadata.metadata} {parquet.schema_arrow.metadata}"


def holders(folder: Folder, ids: Iterable[str]) -> list[str]:
    """Names of the files in which one of the ids stands, once for each. ids: of some length, since a short one may stand in any bytes by chance."""
    found = []
    for name, _ in folder.list():
        raw = folder.read(name)
        text = decoded(raw)
        found += [name for each in ids if each.encode() in raw or f"'{each}'" in text]
    return found


def read_column(folder: Folder, name: str, column: str) -> list[Any]:
    with folder.open(name) as file:
        found: list[Any] = pq.read_table(file, columns=[column]).column(0).to_pylist()
    return found
