"""`embermill repair`: what `verify` finds damaged or missing is made again, checked against its receipt, and put in the damaged one's place.

This is the only case in which a published name is replaced. Bookkeeping comes back from what says the same: a plan from its copy, commits from the
manifest or the shards, a manifest from the commits. Shards and quarantine files are embedded again from the corpus; of later versions see
repair_versions.py.
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.dataset.metadata.claims import CLAIMS
from embermill.jobs.dataset.metadata.commits import REPLACES, CommitLog, digest_of
from embermill.jobs.dataset.metadata.completeness import SHARD_COLUMNS, unfinished
from embermill.jobs.dataset.metadata.completing import complete_version
from embermill.jobs.dataset.metadata.consistency import commit_damage, manifest_damage, missing
from embermill.jobs.dataset.metadata.lease import Lease, hold_lease
from embermill.jobs.dataset.metadata.manifest import MANIFESTS, Manifest, publish_manifest, read_manifest
from embermill.jobs.dataset.metadata.retirement import is_retired
from embermill.jobs.dataset.metadata.version_copies import complete_copies, restore_decisions
from embermill.jobs.dataset.metadata.versions import FIRST, KEYS, abandon_version, next_number, read_versions
from embermill.jobs.dataset.views.bookkeeping import OF_A_MAKER, OF_LATER_QUARANTINE, bookkeeping_damage
from embermill.jobs.dataset.views.verify_versions import older_key_damage
from embermill.jobs.difference.claim import INPUTS
from embermill.jobs.difference.making import SYNC, VersionFolder
from embermill.jobs.driver.outcome import failures_as_error
from embermill.jobs.engine import Engine
from embermill.jobs.engine.loading import load_engine
from embermill.jobs.errors import DataError, MetadataDamaged, UsageError
from embermill.jobs.maintenance.configured import config_as_planned
from embermill.jobs.maintenance.embedding_here import embed_here
from embermill.jobs.maintenance.repair_versions import repair_versions, stands
from embermill.jobs.plan.changes import require_unchanged
from embermill.jobs.plan.copies import restore_plan
from embermill.jobs.plan.dataset_format import FORMAT, ensure_format
from embermill.jobs.plan.files import Plan, read_plan
from embermill.jobs.preflight import require_possible
from embermill.jobs.process.cores import usable_cores
from embermill.jobs.receipt import Failed, Receipt, Task
from embermill.jobs.shard.adoption import adopt_uncommitted, list_strangers, set_aside
from embermill.jobs.shard.writer import ShardWriter
from embermill.jobs.stages.rereading import point_at_what_is_there
from embermill.jobs.storage import Folder, open_folder
from embermill.jobs.versions.rekey import repair_keys
from embermill.jobs.versions.retention import readable_versions

log = logging.getLogger(__name__)


@dataclass
class Repairs:
    """repaired: files that are whole again. replaced: of these, files whose bits differ from before, each with a new receipt.

    set_aside: files that were of no partition of the plan. manifest: a new one, if any.
    """

    root: str
    repaired: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    manifest: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def repair(uri: str, overrides: Sequence[str] = (), on_shard: Callable[[int, int], None] = lambda done, total: None) -> Repairs:
    """Make the dataset at `uri` whole. overrides: keys of the configuration that may change, as workers.device. on_shard(done, of all): looked at.

    MetadataDamaged for a plan without a whole copy; InputChanged and DataError where the corpus is not what it was; AnotherRun where a run is at work.
    """
    folder = open_folder(uri)
    if next(iter(folder.list("_embermill")), None) is None:
        raise UsageError(f"{folder.root}: there is no dataset here (no _embermill): expected the output.uri of an `embermill run`")
    with hold_lease(folder, purpose="repair") as lease:
        repairs = Repairs(folder.root)
        _repair_format(folder, repairs)
        repairs.repaired += [*restore_plan(folder), *restore_decisions(folder)]
        repairs.repaired += _restore_plans_of_versions(folder)
        complete_copies(folder)
        plan = read_plan(folder)
        if plan is None:
            raise UsageError(f"{folder.root}: there is no plan here to repair by: run the same job again")
        was_finished = _repair_manifest(folder, plan, repairs)
        commits = _repair_commits(folder, plan, lease, repairs)
        _set_aside_what_counts_no_more(folder, repairs)
        needed = _still_needed(folder)
        damaged = [receipt for receipt in _damaged(folder, commits, on_shard) if needed is None or receipt.shard in needed]
        if damaged:
            _make_again(folder, plan, commits, damaged, overrides, repairs)
        if was_finished and not len(unfinished(plan, commits.columns(SHARD_COLUMNS))):
            before = read_manifest(folder)
            manifest = publish_manifest(folder, plan, commits)
            repairs.manifest = manifest.name if before is None or before.name != manifest.name else None
            repairs.repaired += repair_versions(folder, plan, cache(partial(_engine_of, folder, plan, overrides)))
            if (version := repair_keys(folder, plan)) is not None:
                repairs.repaired += [file.name for file in version.of_kind(KEYS)]
            _set_aside_older_keys(folder, repairs)
            complete_version(folder)
        return repairs


def _restore_plans_of_versions(folder: Folder) -> Iterator[str]:
    """What syncs planned, from its copies: damaged files of their versions are made again by it."""
    numbers = {int(name.split("/")[2]) for name, _ in folder.list(SYNC) if re.match(rf"{SYNC}/\d+/plan/", name)}
    for making in (VersionFolder(folder, number) for number in sorted(numbers)):
        yield from map(making.place, restore_plan(making))


def _still_needed(folder: Folder) -> set[str] | None:
    """Files of the versions that can be read; None while the run's own version can be, all of whose shards are needed."""
    return {file.name for version in readable_versions(folder) for file in version.files} if is_retired(folder, FIRST) else None


def _repair_format(folder: Folder, repairs: Repairs) -> None:
    try:
        standing = folder.read(FORMAT)
    except FileNotFoundError:
        standing = None
    try:
        if standing is not None:
            read_plan(folder)
            return
    except MetadataDamaged as error:
        if error.file != FORMAT:
            return
        set_aside(folder, FORMAT)
    ensure_format(folder)
    repairs.repaired.append(FORMAT)


def _repair_manifest(folder: Folder, plan: Plan, repairs: Repairs) -> bool:
    """Whether there was one. A damaged one, or one of another plan, is set aside; the commits say what the next one holds."""
    numbers = [int(match[1]) for name, _ in folder.list(MANIFESTS) if (match := re.fullmatch(rf"{MANIFESTS}/(\d{{6}})\.(?:json|parquet|pq)", name))]
    if not numbers:
        return False
    try:
        manifest = read_manifest(folder)
        damage = next(manifest_damage(folder, plan, manifest), None) if manifest is not None else None
        if manifest is not None and damage is None and int(manifest.name[-11:-5]) == max(numbers):
            return True
    except MetadataDamaged as error:
        log.info("%s", error)
    for name in (f"{MANIFESTS}/{max(numbers):06d}.{suffix}" for suffix in ("json", "parquet", "pq")):
        with contextlib.suppress(FileNotFoundError):
            set_aside(folder, name)
            repairs.repaired.append(name)
    return True


def _repair_commits(folder: Folder, plan: Plan, lease: Lease, repairs: Repairs) -> CommitLog:
    """The log without what is damaged in it, and with what the manifest or the shards themselves say was lost."""
    manifest = read_manifest(folder)
    while (damage := _commit_problem(folder, manifest)) is not None:
        set_aside(folder, damage.file)
        repairs.repaired.append(damage.file)
    commits = CommitLog(folder, lease.token)
    lease.fence(commits)
    if manifest is not None and commits.append_table(missing(commits, manifest)):
        log.info("commits: rewritten from %s", manifest.name)
    for name in list_strangers(folder, plan, commits.committed):
        set_aside(folder, name)
        repairs.set_aside.append(name)
    commits.append([*adopt_uncommitted(folder, plan, commits.committed)])
    return commits


def _commit_problem(folder: Folder, manifest: Manifest | None) -> MetadataDamaged | None:
    try:
        commits = CommitLog(folder)
    except MetadataDamaged as error:
        return error
    return None if manifest is None else next(commit_damage(commits, manifest), None)


def _set_aside_what_counts_no_more(folder: Folder, repairs: Repairs) -> None:
    """Older manifests, what versions were made from, and what killed runs left, where it is damaged: no reader goes by it any more.

    A version that is being made is abandoned with what it was to be made from: the next sync starts it over. What a later version quarantined is lost.
    """
    for name in [damage.file for damage in bookkeeping_damage(folder)]:
        of_maker = OF_A_MAKER.fullmatch(name)
        if of_maker is not None or _is_of_a_claim_alone(folder, name):
            _abandon(folder, None if of_maker is None else int(of_maker[1] or of_maker[2]))
        elif not name.startswith(f"{MANIFESTS}/") and OF_LATER_QUARANTINE.fullmatch(name) is None:
            continue
        set_aside(folder, name)
        repairs.repaired.append(name)


def _is_of_a_claim_alone(folder: Folder, name: str) -> bool:
    """A listing of the corpus that no committed version goes by."""
    if not name.startswith(f"{SYNC}/{INPUTS}-"):
        return False
    return all(version.details.get(INPUTS, {}).get("file") != name for version in read_versions(folder, files=False) if version.is_committed)


def _abandon(folder: Folder, number: int | None) -> None:
    """The version that is being made: that one, or whichever it is."""
    following = next_number(folder)
    if folder.exists(f"{CLAIMS}/{following:06d}.json") and number in (None, following):
        abandon_version(folder, following, "what it was made from was damaged")


def _set_aside_older_keys(folder: Folder, repairs: Repairs) -> None:
    for name in [damage.file for damage in older_key_damage(folder, readable_versions(folder))]:
        set_aside(folder, name)
        repairs.repaired.append(name)


def _damaged(folder: Folder, commits: CommitLog, on_shard: Callable[[int, int], None]) -> Iterator[Receipt]:
    """Receipts of which a file is not there as it was published."""
    total = len(commits.committed)
    for done, receipt in enumerate(commits.receipts(), 1):
        if not all(stands(folder, name, sha256) for name, sha256 in _files(receipt)):
            yield receipt
        on_shard(done, total)


def _files(receipt: Receipt) -> Iterator[tuple[str, str]]:
    for name, sha256 in ((receipt.shard, receipt.shard_sha256), (receipt.quarantine, receipt.quarantine_sha256)):
        if name is not None:
            yield name, sha256


def _engine_of(folder: Folder, plan: Plan, overrides: Sequence[str]) -> tuple[Engine, JobConfig]:
    """The dataset's engine, in this process, and the configuration by which it was made. UsageError where it would make other vectors."""
    config = config_as_planned(plan, folder.root, overrides).as_planned(plan)
    require_possible(plan, config, folder)
    device = config.workers.device if config.workers.device != "auto" else plan.device_kind
    engine = load_engine(config.model, device=device, threads=usable_cores(), search_path=(str(Path.cwd()),))
    require_unchanged(plan, config, engine.fingerprint())
    return engine, config


def _make_again(folder: Folder, plan: Plan, commits: CommitLog, damaged: list[Receipt], overrides: Sequence[str], repairs: Repairs) -> None:
    engine, config = _engine_of(folder, plan, overrides)
    staging = folder.temporary("repair")
    staging.mkdir(parents=True)
    try:
        made, failed = _embed(plan, engine, config, commits, damaged, open_folder(str(staging)))
        for receipt in damaged:
            new = made.get((receipt.partition, receipt.ordinal))
            if new is not None:
                _put_back(folder, plan, commits, receipt, new, staging, repairs)
        if failed:
            raise failures_as_error(failed)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _embed(
    plan: Plan, engine: Engine, config: JobConfig, commits: CommitLog, damaged: list[Receipt], staging: Folder
) -> tuple[dict[tuple[int, int], Receipt], list[Failed]]:
    """Receipts of the damaged shards, made again in a folder of their own, in this process."""
    there = point_at_what_is_there(plan, config.corpus)
    unreadable = {str(entry["path"]): str(entry["error"]) for entry in plan.listing if entry["error"]}
    read = partial(read_rows, schema=plan.rows.of_documents, unreadable=unreadable)
    wanted, known = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    for receipt in damaged:
        wanted[receipt.partition].add(receipt.ordinal)
    for number, ordinal in commits.committed:
        known[number].add(ordinal)
    tasks = [  # rows that the engine refused are refused again: others than then are found by _require_same_rows
        Task(there.partitions[number], frozenset(known[number] - ordinals), isolate=True) for number, ordinals in sorted(wanted.items())
    ]
    events = embed_here(engine, config, plan, read, partial(ShardWriter, staging, plan), tasks)
    made = {(event.partition, event.ordinal): event for event in events if isinstance(event, Receipt)}
    return made, [event for event in events if isinstance(event, Failed)]


def _put_back(folder: Folder, plan: Plan, commits: CommitLog, old: Receipt, new: Receipt, staging: Path, repairs: Repairs) -> None:
    """One damaged receipt's files. A new receipt goes first where the bits differ: whoever is killed in between finds the file damaged, and repairs it."""
    _require_same_rows(plan, folder, old, new)
    if differ := [*_files(old)] != [*_files(new)]:
        commits.append([replace(new, provenance=new.provenance | {REPLACES: digest_of(old)})])
    for name, sha256 in _files(new):
        if not stands(folder, name, sha256):
            folder.restore(staging / name, name)
            repairs.repaired.append(name)
            if differ:
                repairs.replaced.append(name)


def _require_same_rows(plan: Plan, folder: Folder, old: Receipt, new: Receipt) -> None:
    keys = ("rows_in", "rows_out", "rows_quarantined", "first_id", "last_id", "last", *(("input_digest",) if plan.holds_input_digests else ()))
    if differing := [key for key in keys if getattr(old, key) != getattr(new, key)]:
        what = ", ".join(f"{key}: {getattr(old, key)} -> {getattr(new, key)}" for key in differing)
        raise DataError(
            f"{folder.root}: partition {old.partition} shard {old.ordinal} cannot be made again, the corpus is not what it was ({what}): "
            "put the corpus back as it was, restore the file from a copy, or embed the corpus into another output.uri"
        )
