"""The columns of a dataset's rows as a reader of any version gets them."""

from __future__ import annotations

import pyarrow as pa

from embermill.jobs.errors import UsageError
from embermill.jobs.plan.files import Plan

VERSION = "version"


def row_schema(plan: Plan) -> pa.Schema:
    """The shards' schema, with the column `version` that older shards lack: there it is 1.

    An older dataset may have kept a column of the corpus under that name: then it keeps it, and can have no second version (`require_own_version`).
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


def require_own_version(plan: Plan, root: str) -> None:
    """Before a second version is made. UsageError where the dataset at `root` keeps a column of the corpus under the name that versions need."""
    if holds_foreign_version(plan):
        raise UsageError(
            f"{root}: it keeps a column of the corpus under the name `version`, which datasets with versions use themselves: "
            "embed the corpus into another output.uri, with keep_columns: [{version: source_version}]"
        )
