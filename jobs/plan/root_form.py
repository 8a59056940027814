"""What a plan's root.json and its tables must look like, so that whoever goes by them need not ask again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.counts import several
from embermill.jobs.bookkeeping.expected_form import anything, character, flag, number, one_of, or_none, pair, positive, require_form, text

TABLE = {"file": text, "sha256": text}
ROWS = {
    "id_name": text, "id_column": or_none(text), "types": text, "text_columns": [text], "text_separator": text, "kept": [pair(text, text)],
    "max_text_bytes": positive, "on_schema_drift": text, "on_bad_file?": text, "declared?": [text], "json_ids_as_text?": flag,
    "uuids?": [text], "holds_text?": flag, "derives_uuid?": flag,
    "document_column?": text, "document_type?": text, "prefix?": [text], "holds_chunk_text?": flag, "encoding?": text, "delimiter?": character,
    "refuses_nul?": flag, "finds_front_matter?": flag,
}  # fmt: skip
ROOT = {
    "segments": TABLE, "inputs": TABLE, "fingerprint": {"": text}, "config": {"": anything}, "rows": ROWS, "schema_arrow": text, "rows_per_shard": positive,
    "outputs": [{"column": text, "kind": text, "dtype": text, "dim": positive}], "device_kind": one_of("cpu", "gpu"), "precision": text,
    "id_stability": text, "superseded?": [pair(number, number)],
    "vectors?": [{"column": text, "source": text, "dtype": text, "dim": positive, "packing": text}],
}  # fmt: skip
COUNTED = ("num_tokens", "num_tokens_dropped", "text_hash")  # what shards tell of every row


def require_root(root: Any) -> None:
    """ValueError that says which key is wrong."""
    require_form(root, ROOT)


def require_columns(schema: pa.Schema, id_name: str, kept: Iterable[str], vectors: dict[str, pa.DataType]) -> None:
    """ValueError unless the schema of shards has what the rest of the root speaks of, each once. vectors: the type of each column of them."""
    for name in (id_name, *kept, *vectors, *COUNTED):
        if (found := schema.names.count(name)) != 1:
            raise ValueError(f"schema_arrow: expected one column {name[:80]!r}, got {found}")
    for name, expected in vectors.items():
        kind = schema.field(name).type
        if not pa.types.is_fixed_size_list(kind) or (kind.list_size, kind.value_type) != (expected.list_size, expected.value_type):
            raise ValueError(f"schema_arrow: column {name}: expected vectors of {several(expected.list_size, 'number')} ({expected.value_type}), got {kind}")


def require_partitions(segments: pa.Table) -> None:
    """Partitions are numbered from 0 on, one after another; their ids name their files, and no range ends before it starts."""
    numbers = segments.column("partition").to_numpy()
    steps = np.diff(numbers, prepend=np.int64(-1))
    if np.any((steps < 0) | (steps > 1)) or (len(steps) and steps[0] != 1):
        raise ValueError("column partition: expected 0, 1, 2, ... one after another")
    ids = segments.column("partition_id")
    if not pc.all(pc.match_substring_regex(ids, "^[0-9a-f]{8,}$"), min_count=0).as_py():  # true of a plan without partitions
        raise ValueError("column partition_id holds something other than hex digits")
    if pc.any(pc.less(segments.column("end"), segments.column("start"))).as_py():
        raise ValueError("a range ends before it starts")
