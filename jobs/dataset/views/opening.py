"""`embermill.open_dataset`: the rows of a version, or what changed since one, as a stream of Arrow record batches."""

from __future__ import annotations

import pyarrow as pa

from embermill.jobs.dataset.metadata.schema import row_schema
from embermill.jobs.dataset.metadata.versions import Version, read_version
from embermill.jobs.dataset.views.feed import feed_schema, read_feed
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.plan.files import Plan, require_plan
from embermill.jobs.storage import Folder, open_folder


def open_dataset(uri: str, version: int | None = None, since: int | None = None) -> pa.RecordBatchReader:
    """The live rows of a dataset at a local path or URL, in bounded memory.

    version: which one; None: the newest. since: a version that was read before: then what changed after it, with a column `change` ("upsert" or "delete";
    of a deleted row everything but id and version is null). Reading it twice does no harm.
    Raises JobError: UsageError where there is no such version, DataError where a file of it is gone or damaged.
    """
    folder = open_folder(uri)
    if since is not None:
        plan = require_plan(folder)
        return pa.RecordBatchReader.from_batches(feed_schema(plan), read_feed(folder, plan, since, version).batches())
    plan, found = open_version(folder, version)
    return pa.RecordBatchReader.from_batches(row_schema(plan), LiveRows(folder, plan, found).batches())


def open_version(folder: Folder, number: int | None = None) -> tuple[Plan, Version]:
    """UsageError where there is no dataset, or no such version."""
    return require_plan(folder), read_version(folder, number)

