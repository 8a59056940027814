"""Files of later versions that are damaged or gone, made again with the same bytes: what a sync wrote from the corpus and from the shards that vectors were
copied from, what `compact` wrote from the version that it compacted, other rows from keys and corpus (remade_rows.py), lists of deletes from keys and listings
(remade_deletes.py)."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from embermill.jobs.config import JobConfig
from embermill.jobs.dataset.metadata.retirement import is_retired
from embermill.jobs.dataset.metadata.versions import BASE, DELETES, FIRST, UPSERTS, Version, VersionFile, read_versions
from embermill.jobs.dataset.views.live import LiveRows, file_groups
from embermill.jobs.difference.copying import CopyingEngine
from embermill.jobs.difference.making import VersionFolder, upserts_of
from embermill.jobs.engine import Engine
from embermill.jobs.errors import JobError
from embermill.jobs.maintenance.embedding_here import embed_here, run_here
from embermill.jobs.maintenance.remade_deletes import remake_deletes
from embermill.jobs.maintenance.remade_rows import remake_rows
from embermill.jobs.plan.files import Plan, read_plan
from embermill.jobs.receipt import Failed, Receipt, Task
from embermill.jobs.shard.footer import DATA, parse_name
from embermill.jobs.shard.publishing import describe_published
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.storage import Folder, open_folder
from embermill.jobs.versions.retention import readable_versions
from embermill.jobs.versions.row_files import blank, write_rows
from embermill.jobs.worker.cutting import LIMITS
from embermill.jobs.worker.isolation import SOUND
from embermill.jobs.worker.refused_texts import refused_texts
from embermill.jobs.worker.selected import SelectedRows
from embermill.jobs.worker.steps import is_before
from embermill.jobs.worker.writing import Work

log = logging.getLogger(__name__)

MakeEngine = Callable[[], tuple[Engine, JobConfig]]


def repair_versions(folder: Folder, plan: Plan, engine: MakeEngine) -> list[str]:
    """Names of the files that are whole again; those that cannot be made again are left, and logged. engine: asked only where texts must be embedded.

    For the holder of the lease.
    """
    repaired: list[str] = []
    for number, files in sorted(_damaged(folder).items()):
        upserts = [file for file in files if file.kind == UPSERTS]
        if upserts:
            repaired += _make_upserts(folder, number, upserts, engine)
        repaired += (file.name for file in files if file.name not in repaired and _make_other(folder, plan, file, engine))
    return repaired


def _make_other(folder: Folder, plan: Plan, file: VersionFile, engine: MakeEngine) -> bool:
    """What no sync wrote, and lists of deletes. Whether it is whole again."""
    if file.kind == DELETES:
        return _put_back(folder, file, partial(remake_deletes, folder, plan, file))
    if file.kind == BASE and _make_base(folder, plan, file):
        return True
    if file.kind == UPSERTS and read_plan(VersionFolder(folder, file.version)) is not None:  # a sync's
        return False
    version = next(version for version in readable_versions(folder) if file in version.files)
    return _put_back(folder, file, partial(remake_rows, folder, plan, version, file, make=engine))


def _put_back(folder: Folder, file: VersionFile, make: Callable[[Folder], VersionFile | None]) -> bool:
    """make: writes the file into a folder of its own. Only the same bytes take its place."""
    staging = folder.temporary("repair")
    staging.mkdir(parents=True)
    try:
        made = make(open_folder(str(staging)))
        if made is None or made.sha256 != file.sha256:
            log.warning("%s cannot be made again as it was", file.name)
            return False
        folder.restore(staging / file.name, file.name)
        return True
    except JobError as error:
        log.warning("%s cannot be made again: %s", file.name, error)
        return False
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _damaged(folder: Folder) -> dict[int, list[VersionFile]]:
    """By the version that added them, of versions that can be read."""
    of_rows = (file for version in readable_versions(folder) for file in version.of_kind(UPSERTS, BASE, DELETES))
    files = {file.name: file for file in of_rows if file.version != FIRST}
    found = defaultdict[int, list[VersionFile]](list)
    for file in files.values():
        if not stands(folder, file.name, file.sha256):
            found[file.version].append(file)
    return found


def stands(folder: Folder, name: str, sha256: str) -> bool:
    """Whether a file is there as it was published."""
    try:
        return describe_published(folder, name).sha256 == sha256
    except FileNotFoundError:
        return False


def _make_upserts(folder: Folder, number: int, files: Sequence[VersionFile], engine: MakeEngine) -> Iterator[str]:
    """What the engine embedded first: texts of one version are copied from there."""
    making = VersionFolder(folder, number)
    plan = read_plan(making)
    if plan is None:  # a rollback's, say
        return
    rows = SelectedRows(folder, number, plan.rows)
    known = defaultdict[int, set[int]](set)
    for name in {file.name for version in readable_versions(folder) for file in version.of_kind(UPSERTS) if file.version == number}:
        partition, ordinal = _place_of(name)
        known[partition].add(ordinal)
    staging = folder.temporary("repair")
    staging.mkdir(parents=True)
    try:
        for file in files:
            name = file.name
            partition, ordinal = _place_of(name)
            task = Task(plan.partitions[partition], frozenset(known[partition] - {ordinal}), isolate=True)
            try:
                made = _run(folder, making, plan, rows, task, open_folder(str(staging)), engine)
            except (JobError, FileNotFoundError, pa.ArrowException) as error:
                log.warning("%s cannot be made again: %s", name, error)
                continue
            if made is None or made.shard_sha256 != file.sha256:
                log.warning("%s cannot be made again as it was: the corpus has changed since, or this machine computes other bits", name)
                continue
            folder.restore(staging / str(made.shard), name)
            yield name
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _place_of(name: str) -> tuple[int, int]:
    """(partition, ordinal) of a shard that a sync wrote."""
    found = parse_name(f"{DATA}/{name.rpartition('/')[2]}")
    assert found is not None, "versions name what their makers wrote"
    return found[1], found[2]


def _run(folder: Folder, making: VersionFolder, plan: Plan, rows: SelectedRows, task: Task, staging: Folder, make: MakeEngine) -> Receipt | None:
    """One shard, in a folder of its own. JobError where its rows cannot be read."""
    open_shard = partial(ShardWriter, staging, plan)
    if task.partition.number < rows.writes.embedded or plan.rows.is_chunked:  # the texts that documents took their vectors from are no longer kept
        engine, config = make()
        events = embed_here(engine, config, plan, rows.read_whole, open_shard, [task])
    else:
        made = [name for name, _ in folder.list(upserts_of(making.version)) if is_before(name, rows.writes.embedded)]
        copies = CopyingEngine(
            plan, rows.of(task.partition), rows.writes.sources,
            open_dataset=lambda address: open_folder(address) if address else folder, made=made,
            refused=partial(refused_texts, folder, making.version, rows, plan.partitions, chunked=False), sound=SOUND,
        )  # fmt: skip
        events = run_here(copies, Work(rows.read, open_shard, plan.rows_per_shard, LIMITS["cpu"]), [task])
    for event in events:
        if isinstance(event, Failed) and event.kind != "input_changed":
            log.warning("%s", event.message)
    return next((event for event in events if isinstance(event, Receipt) and event.ordinal not in task.skip and event.shard is not None), None)


def _make_base(folder: Folder, plan: Plan, file: VersionFile) -> bool:
    """A part of a base that `compact` wrote, where the version before it can still be read."""
    versions: dict[int, Version] = {version.number: version for version in read_versions(folder)}
    parent = versions.get(versions[file.version].parent or 0)
    if versions[file.version].cause != "compact" or parent is None or is_retired(folder, parent.number) or "/deletes/" in file.name:
        return False

    def write(staging: Folder) -> VersionFile:
        live = LiveRows(folder, plan, parent)
        groups = [*file_groups((each for each in live.files() if each.rows), plan.rows_per_shard)]
        group = groups[int(Path(file.name).stem.removeprefix("part-"))]
        return write_rows(staging, plan, blank(file.number, file.kind, file.name, file.version), (batch for each in group for batch in live.read(each)))

    return _put_back(folder, file, write)
