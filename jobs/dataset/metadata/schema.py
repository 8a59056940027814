"""The columns of a dataset's rows as a reader of any version gets them."""

from __future__ import annotations

import pyarrow as pa

from embermill.jobs.plan.files import Plan

VERSION = "version"


def row_schema(plan: Plan) -> pa.Schema:
    """The shards' schema, with the column `version` that older shards lack: there it is 1.

    An older dataset may have kept a column of the corpus under that name: then it keeps it, and can have no second version (`holds_foreign_version`).
    """
    if plan.tells_versions or holds_foreign_version(plan):
        return plan.schema
    return plan.schema.insert(plan.schema.get_field_index("text_hash") + 1, pa.field(VERSION, pa.int64(), nullable=False))


def uuid_columns(plan: Plan) -> frozenset[str]:
    """Columns of text that hold UUIDs, for what has a type of its own for them."""
    return frozenset(plan.rows.uuid_columns)


def holds_foreign_version(plan: Plan) -> bool:
    """Whether `version` is a column of the corpus."""
    return not plan.tells_versions and VERSION in plan.schema.names
