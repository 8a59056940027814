"""Edits the corpus of the demo, as a living one would be: every docstring of one module gets a sentence at its end.

    python infra/demo/edit_corpus.py demo/corpus

A corpus that holds the sentence already is left as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MODULE = "sched"
SENTENCE = "For example, it can remind you every twelve hours to feed a sourdough starter."
ROW_GROUP_ROWS = 256  # as stdlib_corpus.py has it


def edit(table: pa.Table) -> tuple[pa.Table, int]:
    """The table with the sentence, and how many rows it was added to. Columns as stdlib_corpus.py makes them."""
    chosen = pc.and_(pc.equal(table.column("module"), MODULE), pc.invert(pc.match_substring(table.column("body"), SENTENCE)))
    longer = pc.binary_join_element_wise(table.column("body"), SENTENCE, " ")
    place = table.column_names.index("body")
    return table.set_column(place, "body", pc.if_else(chosen, longer, table.column("body"))), pc.sum(chosen).as_py() or 0


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    path = Path(sys.argv[1], "stdlib.parquet")
    edited, count = edit(pq.read_table(path))
    if count:
        unfinished = path.with_name(f".{path.name}")
        pq.write_table(edited, unfinished, row_group_size=ROW_GROUP_ROWS, compression="zstd")
        unfinished.replace(path)
    print(f'{count} docstrings of the module {MODULE} now end: "{SENTENCE}"' if count else f"{path} is edited already")


if __name__ == "__main__":
    main()
