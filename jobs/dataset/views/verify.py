"""`verify`: read a whole dataset again and hold it against its manifest, its plan and the promises made of both. Writes nothing into it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embermill.counts import several
from embermill.jobs import remedies
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.completeness import GAP_COLUMNS, gaps
from embermill.jobs.dataset.metadata.consistency import commit_damage, lost_commits, manifest_damage
from embermill.jobs.dataset.metadata.inventory import list_inventory
from embermill.jobs.dataset.metadata.manifest import Manifest, named_files
from embermill.jobs.dataset.metadata.receipt_table import shard_keys, sum_receipts, to_receipts
from embermill.jobs.dataset.metadata.versions import FIRST, Version, documents_of
from embermill.jobs.dataset.metadata.why_empty import why_empty
from embermill.jobs.dataset.views.bookkeeping import bookkeeping_damage
from embermill.jobs.dataset.views.duplicates import DuplicateFinder
from embermill.jobs.dataset.views.verify_report import Damage, Duplicate, Findings, VerifyFailed, VerifyReport
from embermill.jobs.dataset.views.verify_versions import file_damage, files_of_later_versions, find_live_duplicates, key_damage, older_key_damage, readable
from embermill.jobs.errors import DataError, MetadataDamaged
from embermill.jobs.plan.copies import is_copy, missing_plan_files
from embermill.jobs.plan.dataset_format import FORMAT
from embermill.jobs.plan.files import Plan
from embermill.jobs.process.cores import usable_cores
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.adoption import list_strangers
from embermill.jobs.shard.contents import ShardContents, open_parquet, row_groups, to_matrix
from embermill.jobs.shard.footer import DATA, QUARANTINE, is_of_later_version, published_name
from embermill.jobs.shard.publishing import PublishedFile, describe_published, inspect_quarantine, inspect_shard
from embermill.jobs.storage import Folder
from embermill.jobs.vectors.form import FLOAT16, FLOAT32
from embermill.jobs.wording import describe_damage

T = TypeVar("T")
R = TypeVar("R")

NORM_TOLERANCE = 1e-3  # of a vector that is said to have length 1
READERS = min(4, usable_cores())  # files at a time; each holds some 50 MiB: buffers of its columns, and a piece of a few MiB, packed and unpacked


def verify(folder: Folder, on_shard: Callable[[int, int], None] | None = None) -> VerifyReport:
    """Check every file that the newest manifest names, or the commit log where there is no manifest yet; on_shard(done, of all) after each.

    Memory is bounded by a few pieces of a row group and DuplicateFinder. Raises VerifyFailed, a DataError that carries the report, where anything is damaged,
    missing, contradictory or duplicate; before that what list_inventory raises.
    """
    found = list_inventory(folder)
    plan, manifest = found.plan, found.manifest
    versions = [] if manifest is None else readable(folder)
    table = _still_needed(found.receipts, versions) if manifest is not None else found.receipts
    findings = Findings()
    findings.damage.extend(_metadata_damage(folder, plan, manifest))
    known = {damage.file for damage in findings.damage.items}
    findings.damage.extend(damage for damage in bookkeeping_damage(folder) if damage.file not in known)
    strangers = list_strangers(folder, plan, {*shard_keys(found.receipts)})
    findings.damage.extend(Damage(name, "belongs to no partition of this plan", remedies.for_strangers(folder.root)) for name in strangers)
    with DuplicateFinder() as finder, ThreadPoolExecutor(READERS) as readers:
        check = partial(_check_shard, folder, plan, finder)
        for done, damage in enumerate(_in_order(readers, check, enumerate(to_receipts(table))), 1):
            findings.damage.extend(damage)
            if on_shard is not None:
                on_shard(done, table.num_rows)
        if not versions or versions[-1].number == FIRST:
            _find_duplicates(folder, table.column("shard").to_pylist(), finder, findings)
    if versions and versions[-1].number > FIRST:
        _verify_versions(folder, plan, versions, findings)
    findings.unnamed.extend(name for name in _unnamed(folder, found.receipts, versions) if name not in strangers)
    newest = versions[-1] if versions else None
    unfinished = found.why_unfinished(folder) if manifest is None else None
    totals, empty = sum_receipts(found.receipts), None if newest is None else why_empty(folder, newest)
    documents = None if not plan.rows.is_chunked else totals.documents if newest is None else documents_of(folder, plan, newest)
    report = VerifyReport(folder.root, None if manifest is None else manifest.name, totals, findings, newest, documents, unfinished, found.is_refused, empty)
    if findings.are_bad:
        raise VerifyFailed(report)
    return report


def _still_needed(table: pa.Table, versions: list[Version]) -> pa.Table:
    """Receipts of the run's shards that a version that can be read has; all, while the run's own can be."""
    if versions and versions[0].number == FIRST:
        return table
    needed = pa.array([file.name for version in versions for file in version.files], pa.string())
    return table.filter(pc.is_in(table.column("shard"), needed))


def _verify_versions(folder: Folder, plan: Plan, versions: list[Version], findings: Findings) -> None:
    """What came after the run. Rows and keys are looked at together where every file is whole."""
    before = findings.damage.count
    with ThreadPoolExecutor(READERS) as readers:
        for damage in _in_order(readers, lambda file: [*file_damage(folder, plan, file)], files_of_later_versions(versions)):
            findings.damage.extend(damage)
    findings.damage.extend(older_key_damage(folder, versions))
    if findings.damage.count == before:
        findings.damage.extend(key_damage(folder, plan, versions[-1]))
        with DuplicateFinder() as finder:
            names = find_live_duplicates(folder, plan, versions[-1], finder)
            _find_duplicates(folder, names, finder, findings)


def _in_order(readers: ThreadPoolExecutor, check: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Answers in the order of the items, with a few of them under way."""
    under_way: deque[Future[R]] = deque()
    for item in items:
        under_way.append(readers.submit(check, item))
        if len(under_way) > 2 * READERS:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


def _check_shard(folder: Folder, plan: Plan, finder: DuplicateFinder, numbered: tuple[int, Receipt]) -> list[Damage]:
    number, receipt = numbered
    if not 0 <= receipt.partition < len(plan.partitions) or plan.partitions[receipt.partition].id != receipt.partition_id:
        return [Damage(receipt.shard or receipt.quarantine or "", f"partition {receipt.partition} with id {receipt.partition_id} is not in the plan")]
    checks = ((receipt.shard, partial(_shard_damage, number=number, finder=finder)), (receipt.quarantine, _quarantine_damage))
    return [Damage(name, what) for name, check in checks if name is not None for what in _damage_of(check, folder, plan, receipt)]


def _damage_of(check: Callable[[Folder, Plan, Receipt], Iterator[str]], folder: Folder, plan: Plan, receipt: Receipt) -> Iterator[str]:
    """What a check finds, and what stops it."""
    try:
        yield from check(folder, plan, receipt)
    except DataError as error:
        yield str(error)
    except FileNotFoundError:
        yield "is gone"
    except OSError as error:
        yield f"cannot be read: {error.strerror or error}"
    except Exception as error:
        if _is_whole(folder, receipt):
            raise  # then it is a defect of ours
        yield f"is not the file that its receipt describes, and cannot be decoded: {describe_damage(error)}"


def _is_whole(folder: Folder, receipt: Receipt) -> bool:
    """Whether the files are those of the receipt, by their checksums."""
    named = {receipt.shard: receipt.shard_sha256, receipt.quarantine: receipt.quarantine_sha256}
    return all(name is None or describe_published(folder, name).sha256 == sha256 for name, sha256 in named.items())


def _shard_damage(folder: Folder, plan: Plan, receipt: Receipt, *, number: int, finder: DuplicateFinder) -> Iterator[str]:
    norms = _NormCheck(plan)
    row = 0

    def look(table: pa.Table) -> None:
        nonlocal row
        finder.add(table.column(plan.rows.id_name), number, row)
        norms.add(table, row)
        row += table.num_rows

    published, contents = inspect_shard(folder, plan, plan.partitions[receipt.partition], receipt.ordinal, look)
    name = published_name(plan, DATA, plan.partitions[receipt.partition], receipt.ordinal)
    yield from _differing(published, PublishedFile(name, receipt.shard_bytes, receipt.shard_sha256))
    yield from _differing_counts(contents, receipt)
    yield from norms.problems


def _quarantine_damage(folder: Folder, plan: Plan, receipt: Receipt) -> Iterator[str]:
    published, contents = inspect_quarantine(folder, plan, plan.partitions[receipt.partition], receipt.ordinal)
    name = published_name(plan, QUARANTINE, plan.partitions[receipt.partition], receipt.ordinal)
    yield from _differing(published, PublishedFile(name, receipt.quarantine_bytes, receipt.quarantine_sha256))
    if contents.rows != receipt.rows_quarantined:
        yield f"it refuses {several(contents.rows, 'row')}, its receipt says {receipt.rows_quarantined}"


def _differing(found: object, expected: object) -> Iterator[str]:
    for key, value in vars(expected).items():
        if getattr(found, key) != value:
            yield f"its {key} is {getattr(found, key)}, its receipt says {value}"


def _differing_counts(contents: ShardContents, receipt: Receipt) -> Iterator[str]:
    if contents.rows != receipt.rows_out:
        yield f"it holds {several(contents.rows, 'row')}, its receipt says {receipt.rows_out}"
    for key in ("first_id", "last_id", "tokens", "tokens_dropped", "rows_truncated", "token_lengths"):
        if getattr(contents, key) != getattr(receipt, key):
            yield f"its {key} is {getattr(contents, key)}, its receipt says {getattr(receipt, key)}"
    footer = contents.footer
    if footer is not None and (footer.last, footer.rows_in, footer.rows_quarantined) != (receipt.last, receipt.rows_in, receipt.rows_quarantined):
        yield f"its footer says {several(footer.rows_in, 'row')} in, {footer.rows_quarantined} refused, last: {footer.last}; its receipt says otherwise"


class _NormCheck:
    """Vectors of length 1, where the plan says so."""

    def __init__(self, plan: Plan) -> None:
        """Of columns that are numbers: codes of vectors are near such a length, and bits have none."""
        is_said = plan.fingerprint.get("model.normalize") == "true"
        self._columns = [form.column for form in plan.stored if form.dtype in (FLOAT32, FLOAT16)] if is_said else []
        self.problems: list[str] = []

    def add(self, table: pa.Table, first_row: int) -> None:
        for column in self._columns:
            vectors = to_matrix(table.column(column))
            squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
            wrong = np.flatnonzero(np.abs(np.sqrt(squares) - 1) > NORM_TOLERANCE)
            if wrong.size and not self.problems:
                self.problems.append(f"column {column}, row {first_row + wrong[0]}: a vector of length {np.sqrt(squares[wrong[0]]):.6g}, expected 1")


def _metadata_damage(folder: Folder, plan: Plan, manifest: Manifest | None) -> Iterator[Damage]:
    """What is wrong beside shards and quarantine; plan and manifest were read and are whole by themselves."""
    if not folder.exists(FORMAT):
        yield Damage(FORMAT, "is gone", remedies.FORMAT)
    for name in missing_plan_files(folder):
        if manifest is None and is_copy(name):
            continue  # a driver was killed before it came to this one: the next run makes it
        yield Damage(name, "is gone", remedies.REPAIR)
    if manifest is None:
        return
    if foreign := [*manifest_damage(folder, plan, manifest)]:
        yield from map(_as_damage, foreign)
        return
    for gap in gaps(plan, manifest.columns(GAP_COLUMNS)):
        yield Damage(manifest.name, gap, manifest.remedy)
    yield from map(_as_damage, _commit_damage(folder, manifest))


def _as_damage(error: MetadataDamaged) -> Damage:
    return Damage(error.file, error.what, error.remedy)


def _commit_damage(folder: Folder, manifest: Manifest) -> Iterator[MetadataDamaged]:
    """Readers of a finished dataset go by its manifest; a run that goes on after damage goes by the commits."""
    try:
        log = CommitLog(folder)
    except MetadataDamaged as error:
        yield error
        return
    yield from commit_damage(log, manifest)
    yield from lost_commits(log, manifest)


def _find_duplicates(folder: Folder, names: list[str], finder: DuplicateFinder, findings: Findings) -> None:
    for group in finder.groups():
        findings.duplicate_rows += len(group) - 1
        if findings.duplicates.has_room:
            shard, row = group[0]
            findings.duplicates.append(Duplicate(_read_id(folder, names[shard], row), tuple((names[shard], row) for shard, row in group[:10])))
        else:
            findings.duplicates.count += 1


def _read_id(folder: Folder, name: str, row: int) -> str:
    try:
        with folder.open(name) as file, open_parquet(file) as parquet:
            for table in row_groups(parquet, [parquet.schema_arrow.names[0]]):
                if row < table.num_rows:
                    return str(table.column(0)[row].as_py())
                row -= table.num_rows
    except DataError:
        pass  # it is among the damaged ones
    return "(its shard cannot be read)"


def _unnamed(folder: Folder, table: pa.Table, versions: list[Version]) -> Iterator[str]:
    named = {*named_files(table), *(file.name for version in versions for file in version.files)}
    return (name for prefix in (DATA, QUARANTINE) for name, _ in folder.list(prefix) if name not in named and not is_of_later_version(name))
