"""A corpus in which one row in a hundred cannot be embedded, for ten different reasons; and the same corpus, corrected."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.engine import Embedded
from tests.jobs.word_engines import WordEngine

LINE_KINDS = (
    "null_id", "null_text", "invalid_utf8", "unparsable_line", "column_type", "text_too_long", "text_over_limit", "encoder_failed",
)  # fmt: skip
FILE_KINDS = ("corrupt_row_group", "unreadable_file")
KINDS = (*LINE_KINDS, *FILE_KINDS)
MAX_TEXT_BYTES, MAX_WORDS = 4000, 40
EVERY = 100  # rows, of which one is poison
GROUP_ROWS = 50
SETTINGS: dict[str, dict[str, Any]] = {
    "model": {"max_tokens": MAX_WORDS, "on_long_text": "error"},
    "corpus": {
        "keep_columns": ["k"], "types": {"k": "int64"}, "max_text_bytes": MAX_TEXT_BYTES, "on_bad_file": "quarantine", "max_quarantined": 0,
        "partition_text_bytes": 20_000,
    },
}


class CountingEngine(WordEngine):
    """Writes down every text that it embeds, and fails on one that says "poison"."""

    def embed(self, texts: Iterable[pa.Array]) -> Iterator[Embedded]:
        def noted() -> Iterator[pa.Array]:
            for batch in texts:
                if any("poison" in text for text in batch.to_pylist()):
                    raise RuntimeError("this text is poison")
                with Path("embedded-texts").open("a", encoding="utf-8") as file:
                    file.writelines(text + "\n" for text in batch.to_pylist())
                yield batch

        yield from super().embed(noted())


def row(number: int) -> dict[str, Any]:
    return {"id": f"row-{number}", "text": f"text of row {number} " + "word " * (number % 7), "k": number}


def poisoned(number: int, kind: str) -> bytes:
    """The line of a row that has this wrong with it."""
    good = row(number)
    other: dict[str, dict[str, Any]] = {
        "null_id": {"id": None},
        "null_text": {"text": None},
        "column_type": {"k": "no number"},
        "text_too_long": {"text": "x" * (MAX_TEXT_BYTES + 1 + number % 50)},
        "text_over_limit": {"text": "word " * (MAX_WORDS + 5)},
        "encoder_failed": {"text": f"poison {number}"},
    }
    line = json.dumps(good | other.get(kind, {})).encode()
    return {"invalid_utf8": line.replace(b"text of", b"\xff\xfe of"), "unparsable_line": line[:-5]}.get(kind, line) + b"\n"


def write_lines(path: Path, rows: int, *, poison: bool) -> dict[int, str]:
    """JSON lines; number -> kind of those that are poison."""
    bad = {number: LINE_KINDS[number // EVERY % len(LINE_KINDS)] for number in range(EVERY // 2, rows, EVERY)}
    with path.open("wb") as file:
        for number in range(rows):
            file.write(poisoned(number, bad[number]) if poison and number in bad else json.dumps(row(number)).encode() + b"\n")
    return bad


def write_parquet(path: Path, first: int, rows: int, *, corrupt: bool) -> None:
    """Row groups of GROUP_ROWS; the second of them corrupt."""
    numbers = range(first, first + rows)
    columns = {key: [row(number)[key] for number in numbers] for key in ("id", "text", "k")}
    pq.write_table(pa.table(columns), path, row_group_size=GROUP_ROWS, compression="zstd", use_dictionary=False)
    if corrupt:
        chunk = pq.ParquetFile(path).metadata.row_group(1).column(1)
        data = bytearray(path.read_bytes())
        start, end = chunk.data_page_offset + 20, chunk.data_page_offset + chunk.total_compressed_size
        data[start:end] = bytes(end - start)
        path.write_bytes(data)


def write_corpus(folder: Path, rows: int, *, poison: bool) -> dict[str, int]:
    """kind -> rows that are to be refused for it. Of `rows` rows a tenth is in Parquet."""
    folder.mkdir(exist_ok=True)
    lines = rows * 9 // 10
    bad = write_lines(folder / "a.jsonl", lines, poison=poison)
    write_parquet(folder / "b.parquet", lines, rows - lines - GROUP_ROWS, corrupt=poison)
    if poison:
        (folder / "c.parquet").write_bytes(b"PAR1 not Parquet PAR1")
    else:
        write_parquet(folder / "c.parquet", rows - GROUP_ROWS, GROUP_ROWS, corrupt=False)
    return {kind: sum(found == kind for found in bad.values()) for kind in LINE_KINDS} | {"corrupt_row_group": GROUP_ROWS, "unreadable_file": 1}


def dataset_rows(output: Path) -> list[tuple[Any, ...]]:
    """Every row of a dataset, bit for bit, by id."""
    tables = [pq.read_table(file) for file in sorted((output / "data").glob("*.parquet"))]
    table = pa.concat_tables(tables)
    vectors = table.column("embedding").combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    others = table.drop_columns(["embedding"]).to_pylist()
    return sorted((str(each["id"]), vectors[at].astype(np.float32).tobytes(), *map(str, each.values())) for at, each in enumerate(others))
