"""`embermill redrive`: rows that were refused and files that have changed are read again, in partitions that stand in for the ones they were in.

The dataset's plan gets a next generation (plan/files.py). Good rows keep their vectors, which workers take from the shards that are stood in for
(worker/reuse.py); those are removed once all is embedded, before the manifest is published. A redrive that is killed is resumed by `run`, or by itself.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow.compute as pc

from embermill.counts import several
from embermill.jobs.config import JobConfig
from embermill.jobs.corpus.pieces import Piece
from embermill.jobs.corpus.surveyed import SurveyedFile
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import read_manifest
from embermill.jobs.dataset.metadata.reconcile import is_settled
from embermill.jobs.driver.summary import Summary
from embermill.jobs.errors import DataError, UsageError
from embermill.jobs.maintenance.configured import config_as_planned
from embermill.jobs.maintenance.retyping import typed_as_now
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan, require_plan, write_amended
from embermill.jobs.plan.listing import cut_file, differs, list_corpus, survey_paths
from embermill.jobs.plan.packing import SMALLEST_SHARE, pack
from embermill.jobs.plan.planning import listed
from embermill.jobs.run import run
from embermill.jobs.shard.contents import Damaged
from embermill.jobs.shard.quarantine import read_reasons
from embermill.jobs.storage import Folder, open_folder

log = logging.getLogger(__name__)

AGAIN = frozenset({"encoder_failed", "corrupt_row_group", "unreadable_file"})  # reasons that may be gone though the file is the same
_LIMITED = re.compile(r"-first-\d+")


def redrive(uri: str, overrides: Sequence[str] = (), *, events_file: str | Path | None = None) -> Summary:
    """Finish the unfinished dataset at `uri` with what its corpus holds now. overrides: keys of the configuration that may change.

    UsageError where there is none, or a finished one; else as `run`.
    """
    folder = open_folder(uri)
    plan = require_plan(folder)
    was_ending = read_manifest(folder) is not None and not is_settled(folder, plan, CommitLog(folder))  # a redrive was killed behind its manifest
    if _LIMITED.search(folder.root.rstrip("/").rpartition("/")[2]):
        raise UsageError(f"{folder.root}: a dataset of the first rows (--limit) is not redriven: remove it, and run again with --limit")
    if not was_ending:
        _require_unfinished(folder)
    config = config_as_planned(plan, folder.root, overrides)
    return run(config, events_file=events_file, amend=None if was_ending else partial(_amend, config=config))


def _require_unfinished(folder: Folder) -> None:
    if read_manifest(folder) is not None:
        raise UsageError(
            f"{folder.root}: this dataset is finished, and what is published stays as it is. `embermill sync CONFIG` embeds what changed in the corpus, "
            "as a new version, with --retry-quarantined also rows that were refused; a corpus without ids that stay with its rows needs another output.uri"
        )


def _amend(folder: Folder, plan: Plan, commits: CommitLog, config: JobConfig) -> Plan:
    """The dataset's plan as it is from now on; the same where there is nothing to read again."""
    _require_unfinished(folder)
    files = _changed_files(plan, config)
    typed = typed_as_now(folder, plan, config, files)
    again = _to_try_again(folder, plan, commits) if typed is plan else {part.number for part in plan.current}
    affected = [part for part in plan.current if part.number in again or any(segment.path in files for segment in part.segments)]
    read_again = f"{several(len(files), 'corpus file')} changed; {several(len(affected), 'partition')} to be read again"
    done = {*commits.columns(["partition", "last"]).filter(pc.field("last")).column("partition").to_pylist()}
    if left := len({part.number for part in plan.current} - done - {part.number for part in affected}):
        read_again += f"; {several(left, 'partition')} left from before"
    log.info("%s", read_again)
    if not affected:
        return plan
    amended = stand_in(typed, affected, files, int(str(config.corpus.partition_text_bytes)))
    write_amended(folder, amended)
    return amended


def stand_in(plan: Plan, affected: Sequence[Partition], files: dict[str, SurveyedFile], target_bytes: int) -> Plan:
    """The plan with new partitions for the ranges of the affected ones. files: those that have changed, as they are now; each is cut again, whole."""
    first = len(plan.partitions)
    made = pack(_pieces(affected, files, max(1, target_bytes // SMALLEST_SHARE)), target_bytes)
    added = tuple(replace(partition, number=first + partition.number) for partition in made)
    listing = tuple(listed(files[str(entry["path"])]) if entry["path"] in files else entry for entry in plan.listing)
    superseded = _merged([*plan.superseded, *((partition.number, partition.number + 1) for partition in affected)])
    return replace(plan, partitions=(*plan.partitions, *added), listing=listing, superseded=superseded)


def _pieces(affected: Sequence[Partition], files: dict[str, SurveyedFile], finest: int) -> Iterator[Piece]:
    taken: set[str] = set()
    for partition in affected:
        for segment in partition.segments:
            if segment.path not in files:
                yield Piece(segment, partition.text_bytes // len(partition.segments))
            elif segment.path not in taken:
                taken.add(segment.path)
                yield from cut_file(files[segment.path], finest)


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, end in sorted(ranges):
        if merged and merged[-1][1] >= first:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((first, end))
    return tuple(merged)


def _changed_files(plan: Plan, config: JobConfig) -> dict[str, SurveyedFile]:
    """Path -> what is there now, of files that are not what was planned, and of those that could not be read then and can now."""
    now = {info.path: info for _, info in list_corpus(config.corpus)}
    changed = {path for entry in plan.listing if (path := str(entry["path"])) in now and differs(entry, now[path])}
    unread = {str(entry["path"]) for entry in plan.listing if entry["error"]}
    surveyed = survey_paths(config.corpus, changed | unread)
    return {file.info.path: file for file in surveyed if file.info.path in changed or not file.error}


def _to_try_again(folder: Folder, plan: Plan, commits: CommitLog) -> set[int]:
    """Partitions with a row that may be good now though its file is the same."""
    table = commits.columns(["partition", "quarantine"])
    found = set()
    for number, name in zip(table.column("partition").to_pylist(), table.column("quarantine").to_pylist(), strict=True):
        if name is None:
            continue
        try:
            with folder.open(name) as file:
                if AGAIN & set(read_reasons(file)):
                    found.add(number)
        except (Damaged, FileNotFoundError) as error:
            raise DataError(f"{folder.root}/{name}: {error}: run `embermill repair {folder.root}` first") from None
    return found
