"""Shards that stand in the dataset although no commit names them: whole and of this plan they are adopted, torn they are set aside.

A killed run leaves them, and its workers may still be publishing while the next run looks. That is safe: a published name never changes,
what appears after the look is found by the worker that comes to publish the same name, and both read the file before believing it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from embermill.counts import several
from embermill.jobs import remedies
from embermill.jobs.errors import DataError
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan, numbers_in
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.contents import Damaged, RowTally, file_sha256
from embermill.jobs.shard.footer import DATA, QUARANTINE, Footer, parse_name, published_name
from embermill.jobs.shard.publishing import describe_published, inspect_quarantine, inspect_shard, make_receipt
from embermill.jobs.storage import AlreadyExists, Folder

SET_ASIDE = "_embermill/set_aside"
READERS = 4  # shards at a time; each holds a piece of a row group


def adopt(folder: Folder, plan: Plan, partition: Partition, ordinal: int) -> Receipt | None:
    """The receipt of a shard and its quarantine file, from the files alone; None where one of the pair is missing, which a retry will make.

    Tokens, ids and lengths are counted from the rows; `last` and the refused rows are in the footers, since they follow from the corpus.
    Raises Damaged for a torn file and DataError for one that is not of this plan.
    """
    shard = quarantine = None
    contents = RowTally(plan.rows).contents(None)
    footer: Footer | None = None
    if folder.exists(published_name(plan, QUARANTINE, partition, ordinal)):
        quarantine, refused = inspect_quarantine(folder, plan, partition, ordinal)
        footer = refused.footer
    if folder.exists(published_name(plan, DATA, partition, ordinal)):
        shard, contents = inspect_shard(folder, plan, partition, ordinal)
        if footer is not None and footer != contents.footer:
            raise DataError(f"{folder.root}/{shard.name} and its quarantine file count the rows differently: move both away and run again")
        footer = contents.footer
    if footer is None or (footer.rows_out > 0) != (shard is not None) or (footer.rows_quarantined > 0) != (quarantine is not None):
        return None
    return make_receipt(footer, contents, shard, quarantine, adopted=True, provenance={})


def adopt_uncommitted(folder: Folder, plan: Plan, committed: Collection[tuple[int, int]]) -> Iterator[Receipt]:
    """What a killed run published and never committed, found at the start of a run. committed: (partition, ordinal) of every receipt.

    For the driver alone. A torn file, which only a store without atomic publishing leaves, is moved to SET_ASIDE, so that its partition can be done again.
    Raises DataError, naming the file, for one that is whole and not of this plan: that is for a person to decide.
    """

    def adopt_or_set_aside(found: tuple[int, int]) -> Receipt | None:
        number, ordinal = found
        try:
            return adopt(folder, plan, plan.partitions[number], ordinal)
        except Damaged:
            _set_aside_torn(folder, plan, plan.partitions[number], ordinal)
            return None

    with ThreadPoolExecutor(READERS) as readers:
        receipts = readers.map(adopt_or_set_aside, sorted(list_uncommitted(folder, plan, committed)))
        yield from (receipt for receipt in receipts if receipt is not None)


def list_uncommitted(folder: Folder, plan: Plan, committed: Collection[tuple[int, int]]) -> set[tuple[int, int]]:
    """(partition, ordinal) of what is in data/ and quarantine/ and no commit names. DataError for files of ours that are of no partition of the plan."""
    uncommitted, strangers = _sort_out(folder, plan, committed)
    if strangers:
        which = "belongs" if len(strangers) == 1 else f"and {several(len(strangers) - 1, 'more file')} belong"
        raise DataError(f"{folder.root}/{strangers[0]} {which} to no partition of this plan. {remedies.for_strangers(folder.root)}.")
    return uncommitted


def list_strangers(folder: Folder, plan: Plan, committed: Collection[tuple[int, int]]) -> list[str]:
    """Files of ours in data/ and quarantine/ that are of no partition of the plan, and that no commit names."""
    return _sort_out(folder, plan, committed)[1]


def _sort_out(folder: Folder, plan: Plan, committed: Collection[tuple[int, int]]) -> tuple[set[tuple[int, int]], list[str]]:
    """What stands in data/ and quarantine/ and no commit names: (partition, ordinal) of the plan's, names of the others."""
    ours, strangers, superseded = set[tuple[int, int]](), list[str](), numbers_in(plan.superseded)
    for name, _ in chain(folder.list(DATA), folder.list(QUARANTINE)):
        parsed = parse_name(name)
        if parsed is None:
            continue  # not ours; the manifest refuses to be published beside it
        _, number, ordinal, partition_id = parsed
        if (number, ordinal) in committed or number in superseded:
            continue
        if number < len(plan.partitions) and plan.partitions[number].id.startswith(partition_id):
            ours.add((number, ordinal))
        else:
            strangers.append(name)
    return ours, strangers


def remove_superseded(folder: Folder, plan: Plan) -> None:
    """Files of partitions that others stand in for, once all is embedded: a plain glob would read them. For the holder of the lease, before the manifest."""
    superseded = numbers_in(plan.superseded)
    for name in [name for prefix in (DATA, QUARANTINE) for name, _ in folder.list(prefix)] if superseded else ():
        parsed = parse_name(name)
        if parsed is not None and parsed[1] in superseded:
            folder.remove(name)


def _set_aside_torn(folder: Folder, plan: Plan, partition: Partition, ordinal: int) -> None:
    for prefix, inspect in ((QUARANTINE, inspect_quarantine), (DATA, inspect_shard)):
        name = published_name(plan, prefix, partition, ordinal)
        if not folder.exists(name):
            continue
        try:
            inspect(folder, plan, partition, ordinal)
        except Damaged:
            set_aside(folder, name)


def set_aside(folder: Folder, name: str) -> None:
    """Move a damaged file that no commit names to SET_ASIDE: copied first, and removed only while it is still what was copied."""
    temporary = folder.temporary(name)
    try:
        with folder.open(name) as source, temporary.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        with temporary.open("rb") as copied:
            sha256 = file_sha256(copied)
        with contextlib.suppress(AlreadyExists):
            folder.publish(temporary, f"{SET_ASIDE}/{name.rpartition('/')[2]}.{name.partition('/')[0]}.{sha256[:16]}")
        if describe_published(folder, name).sha256 == sha256:
            folder.remove(name)
    finally:
        temporary.unlink(missing_ok=True)
