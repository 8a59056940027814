"""Keys made from the live rows themselves: what stored keys are held against, and made from where they are lost."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from embermill.jobs.dataset.metadata.id_hash import bucket_of
from embermill.jobs.dataset.metadata.keys import UNKNOWN_FILE, key_columns, keys_of_dataset, keys_schema, split_by_bucket
from embermill.jobs.dataset.metadata.schema import VERSION
from embermill.jobs.dataset.views.live import LiveRows, read_batches, with_version

ROWS_AT_ONCE = 4_000_000  # whose keys are held in memory together
COMPARED = ("id", "text_hash", "meta_hash", "shard", "row", "version")  # in which corpus file a row is, no row tells


def key_passes(rows: int, buckets: int) -> list[tuple[int, int]]:
    """Runs of buckets [first, end) of at most ROWS_AT_ONCE rows or so."""
    passes = min(buckets, 1 << max(0, (rows // ROWS_AT_ONCE).bit_length()))
    return [(buckets * each // passes, buckets * (each + 1) // passes) for each in range(passes)]


def keys_of_live_rows(live: LiveRows, first: int, end: int, buckets: int) -> dict[int, pa.Table]:
    """Bucket -> keys of its live rows, for the buckets [first, end) of `buckets`. Reads ids, hashes and kept columns of the whole version."""
    tables = [keys_schema(live.plan.rows.key_type).empty_table(), *_tables(live, first, end, buckets)]
    return split_by_bucket(pa.concat_tables(tables), buckets)


def _tables(live: LiveRows, first: int, end: int, buckets: int) -> Iterator[pa.Table]:
    schema = live.plan.rows
    for file in live.files():
        for first_row, batch in read_batches(live.folder, file.file.name, [*key_columns(schema), VERSION], 1 << 17):
            numbers = bucket_of(batch.column(schema.key_name), buckets)
            wanted = (numbers >= first) & (numbers < end)
            if file.live is not None:
                wanted &= file.live[first_row : first_row + batch.num_rows]
            places = np.flatnonzero(wanted)
            rows = pa.Table.from_batches([with_version(batch)]).take(pa.array(places))
            keys = keys_of_dataset(rows, schema, files=UNKNOWN_FILE, shard=file.file.number, first_row=0)
            at = keys.schema.get_field_index("row")
            yield keys.set_column(at, keys.schema.field(at), pa.array((places[keys.column(at).to_numpy()] + first_row).astype(np.int32)))
