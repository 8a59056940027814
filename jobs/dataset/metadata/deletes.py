"""Files of deletes: which ids have no row any more from a version on, and why. Every command that deletes writes them here."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from embermill.jobs.dataset.metadata.schema import VERSION
from embermill.jobs.dataset.metadata.versions import VersionFile
from embermill.jobs.errors import DataError
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import Damaged, file_sha256, open_parquet
from embermill.jobs.shard.publishing import describe_published
from embermill.jobs.storage import AlreadyExists, Folder

REASON = "reason"
DELETED, SOURCE_GONE, REFUSED, ROLLED_BACK = "deleted", "source_gone", "refused", "rolled_back"


def deletes_schema(plan: Plan) -> pa.Schema:
    """The id under the dataset's name for it, the version, and one of the reasons above."""
    required = [pa.field(plan.rows.id_name, plan.rows.id_type, nullable=False), pa.field(VERSION, pa.int64(), nullable=False)]
    return pa.schema([*required, pa.field(REASON, pa.string(), nullable=False)])


def write_deletes(folder: Folder, plan: Plan, file: VersionFile, deletes: pa.Table) -> VersionFile:
    """Publish them as `file.name`; the file as it stands. file: its number, kind, name and version.

    One that is there already must hold the same rows, in whatever encoding an older embermill gave them: else DataError.
    """
    deletes = deletes.cast(deletes_schema(plan))
    temporary = folder.temporary(file.name)
    try:
        pq.write_table(deletes, temporary, version="2.6", compression="zstd", compression_level=1, write_page_checksum=True)
        with temporary.open("rb") as written:
            made = replace(file, rows=deletes.num_rows, bytes=temporary.stat().st_size, sha256=file_sha256(written))
        folder.publish(temporary, file.name)
        return made
    except AlreadyExists:
        return _standing(folder, made, deletes)
    finally:
        temporary.unlink(missing_ok=True)


def _standing(folder: Folder, made: VersionFile, deletes: pa.Table) -> VersionFile:
    published = describe_published(folder, made.name)
    if published.sha256 != made.sha256 and not _holds(folder, made.name, deletes):
        raise DataError(f"{folder.root}/{made.name}: it holds other deletes than this version has: move it away and run the same command again")
    return replace(made, bytes=published.size, sha256=published.sha256)


def _holds(folder: Folder, name: str, deletes: pa.Table) -> bool:
    try:
        with folder.open(name) as file, open_parquet(file) as parquet:
            return bool(parquet.read(use_threads=False).equals(deletes))
    except Damaged:
        return False
