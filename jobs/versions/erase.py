"""`embermill erase OUTPUT --ids FILE`: rows that no file of the dataset may hold any more, neither id nor text nor vector.

A new base without them, committed as a version; then every older file that could hold them goes at once, whatever its age: shards, changes, keys, scans,
quarantine, commits and manifests, which say the first and the last id of each shard. Nothing says afterwards which ids these were: cursors from before are
refused. Killed anywhere, the same command goes on; it is done when it says so. Ids that no file names are told; where none is named, nothing is written.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from embermill.jobs.corpus.chunk_columns import INDEX
from embermill.jobs.dataset.metadata.claims import claim_number
from embermill.jobs.dataset.metadata.completing import complete_version, is_marked
from embermill.jobs.dataset.metadata.lease import Lease, hold_lease
from embermill.jobs.dataset.metadata.schema import require_own_version
from embermill.jobs.dataset.metadata.versions import DOCUMENTS, Contents, Version, commit_version, read_version
from embermill.jobs.dataset.views.live import LiveRows
from embermill.jobs.errors import UsageError
from embermill.jobs.plan.dataset_format import upgrade_format
from embermill.jobs.plan.files import Plan, require_plan
from embermill.jobs.storage import Folder, open_folder
from embermill.jobs.storage.local_path import is_there
from embermill.jobs.versions.compact import Keep, make_base
from embermill.jobs.versions.holding import find_ids
from embermill.jobs.versions.path_ids import find_path_ids
from embermill.jobs.versions.retention import retire_others
from embermill.jobs.versions.traces import may_hold_ids, remove_attempts, remove_traces

ERASE = "erase"
UNKNOWN = "ids_unknown"  # in the details of the version


@dataclass
class Erased:
    """version: the one without the rows; None where no file named any of the ids, and nothing was erased. rows: how many it had of them, or chunks.

    ids: how many were given. ids_unknown: how many of them no file named; unknown: which; both None where another command, that was killed, looked.
    removed: files. again: whether the same list had been erased before by that version, which was complete.
    paths: those of the ids that are names of corpus files, too; paths_in: files of the dataset that still name them (path_ids.py).
    """

    root: str
    version: int | None
    rows: int
    removed: list[str]
    ids: int
    ids_unknown: int | None
    unknown: list[str] | None
    chunked: bool
    again: bool = False
    paths: list[str] = field(default_factory=list)
    paths_in: list[str] = field(default_factory=list)


def erase(uri: str, ids_file: str) -> Erased:
    """ids_file: one id a line, or Parquet or CSV with a column named as the dataset's id; of a dataset of chunks ids of documents.

    UsageError where it cannot be read or the dataset is not finished.
    """
    folder = open_folder(uri)
    plan = require_plan(folder)
    read_version(folder)
    require_own_version(plan, folder.root)
    ids = read_ids(Path(ids_file), plan)
    with hold_lease(folder, purpose=ERASE) as lease:
        return erase_rows(folder, plan, ids, lease)


def erase_rows(folder: Folder, plan: Plan, ids: pa.Array, lease: Lease) -> Erased:
    """ids: each once, of the dataset's type. Of a document all chunks go."""
    version, unknown = _committed(folder, ids), None
    again = version is not None and is_marked(folder, version)
    if version is None:
        known = find_ids(folder, plan, ids, may_hold_ids)
        unknown = [str(each) for each in ids.filter(pa.array(~known.ids)).to_pylist()]
        if not known.may_hold:
            return _told(folder, plan, ids, None, remove_attempts(folder, lease), unknown, again=False)
        upgrade_format(folder)
        version = _without(folder, plan, ids, len(unknown))
    lease.require_held()
    retire_others(folder, [version], ERASE)
    removed = remove_traces(folder, plan, version, ids, lease)
    complete_version(folder, version)
    return _told(folder, plan, ids, version, removed, unknown, again=again)


def _told(
    folder: Folder, plan: Plan, ids: pa.Array, version: Version | None, removed: list[str], unknown: list[str] | None, *, again: bool
) -> Erased:
    number, rows = (None, 0) if version is None else (version.number, int(version.totals["rows_deleted"]))
    ids_unknown = version.details.get(UNKNOWN) if version is not None and unknown is None else None if unknown is None else len(unknown)
    left = find_path_ids(folder, ids)
    paths, paths_in = [*left.ids], [*left.files]
    return Erased(folder.root, number, rows, removed, len(ids), ids_unknown, unknown, plan.rows.is_chunked, again, paths, paths_in)


def read_ids(file: Path, plan: Plan) -> pa.Array:
    """Each once, of the dataset's type."""
    name, kind = plan.rows.key_name, plan.rows.key_type
    try:
        if file.suffix == ".parquet":
            found = pq.read_table(file, columns=[name]).column(name)
        elif file.suffix == ".csv":
            options = csv.ConvertOptions(column_types={name: pa.string()}, include_columns=[name])
            found = csv.read_csv(file, convert_options=options).column(name)
        else:
            found = pa.chunked_array([[line for line in file.read_text(encoding="utf-8").splitlines() if line]], pa.string())
        return pc.unique(found.cast(kind)).drop_null()
    except (OSError, UnicodeDecodeError, KeyError, pa.ArrowException) as error:
        raise UsageError(f"--ids {file}: expected one id a line, or Parquet or CSV with a column {name!r}, of type {kind}: {_why(file, error)}") from None


def _why(file: Path, error: Exception) -> str:
    """An OSError by its reason alone: the rest of it is an error number and the name that has been said."""
    if not is_there(file):
        return "there is no such file"
    return "it is a folder" if file.is_dir() else getattr(error, "strerror", None) or str(error).splitlines()[0]


def _committed(folder: Folder, ids: pa.Array) -> Version | None:
    """The version without these rows that a killed command has committed, or this one before."""
    newest = read_version(folder)
    return newest if newest.cause == ERASE and newest.details.get("ids") == _digest(ids) else None


def _without(folder: Folder, plan: Plan, ids: pa.Array, unknown: int) -> Version:
    """The version without these rows. unknown: how many of the ids no file names."""
    digest = _digest(ids)

    def keep(found: pa.Array) -> np.ndarray:
        return ~np.asarray(pc.is_in(found, ids).to_numpy(zero_copy_only=False))

    number, parent = claim_number(folder, ERASE, {"ids": digest})
    rows, documents = _count(folder, plan, parent, keep)
    totals = {"rows": rows, "rows_upserted": 0, "rows_deleted": parent.totals["rows"] - rows} | documents
    details = parent.details | {"ids": digest, UNKNOWN: unknown}
    contents = Contents(number, parent.number, ERASE, totals, make_base(folder, plan, parent, number, keep), details)
    return commit_version(folder, contents)


def _count(folder: Folder, plan: Plan, parent: Version, keep: Keep) -> tuple[int, dict[str, int]]:
    """Rows that are kept, and documents of a dataset of chunks."""
    rows = documents = 0
    for batch in LiveRows(folder, plan, parent).batches([plan.rows.key_name, *([INDEX] if plan.rows.is_chunked else [])]):
        stay = keep(batch.column(0))
        rows += int(stay.sum())
        documents += int((batch.column(1).to_numpy()[stay] == 0).sum()) if plan.rows.is_chunked else 0
    return rows, {DOCUMENTS: documents} if plan.rows.is_chunked else {}


def _digest(ids: pa.Array) -> str:
    """Of the list as a whole: no id can be told, or tried, from it alone where there are several."""
    sink = io.BytesIO()
    for each in sorted(str(each) for each in ids.to_pylist()):
        sink.write(each.encode("utf-8", "surrogatepass") + b"\0")
    return hashlib.blake2b(sink.getvalue(), digest_size=32, key=b"embermill erase").hexdigest()
