"""Corpus files that are no longer what was planned, by size, time, inode or etag: what is committed of them is read again and compared.

Every receipt holds a digest of all that was read for it (corpus.input_digest). Where the committed ranges read the same, the file was moved, restored or
touched, or was edited where nothing is committed yet: the job resumes and reads the rest from what is there now. Where they read otherwise, the dataset
would hold rows of two corpora: InputChanged.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from embermill.counts import several
from embermill.jobs.config import CorpusConfig
from embermill.jobs.corpus.formats import FORMATS
from embermill.jobs.corpus.reading import read_rows
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.errors import DataError, InputChanged, JobError
from embermill.jobs.partition import Partition
from embermill.jobs.plan.file_columns import describe_drift
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.listing import differs, list_corpus, survey_paths
from embermill.jobs.storage import FileInfo, look_at, open_input
from embermill.jobs.worker.cutting import LIMITS, ShardEnd, cut

log = logging.getLogger(__name__)

LOOKING_AT_ONCE = 16
SHOWN = 3
ADVICE = (
    "restore it as it was, or run `embermill redrive {root}` to finish this dataset with what is there now, or embed the corpus as it is now "
    "into another output.uri"
)


class Resumed(NamedTuple):
    """plan: what can be resumed, pointing to the files that are there now. changed: what is to be said of the rest; its partitions are left out."""

    plan: Plan
    changed: InputChanged | None


def resume(plan: Plan, commits: CommitLog, config: CorpusConfig, *, limited: bool) -> Resumed:
    """For an unfinished dataset, before anything of it is read. limited: it is of the corpus's first rows alone."""
    try:
        now = {info.path: info for _, info in list_corpus(config)}
    except JobError:  # what is gone is found by whoever must read it
        now = {}
    changed = {path: now[path] for entry in plan.listing if (path := str(entry["path"])) in now and differs(entry, now[path])}
    if changed and not plan.holds_input_digests:
        log.warning(
            "%s changed after planning (%s), and this dataset was begun by a version that kept no digest of what it read: what is left of them "
            "cannot be embedded: %s", several(len(changed), "corpus file"), _named(changed), ADVICE.format(root=commits.folder.root),
        )  # fmt: skip
    if not changed or not plan.holds_input_digests:
        return Resumed(plan, None)
    pointed = _pointed_at(plan, changed)
    others = _read_otherwise(plan, commits, changed, limited)
    others |= {file.info.path: what for file in survey_paths(config, changed.keys() - others) if (what := describe_drift(plan.rows, file))}
    for path, what in list(others.items())[:SHOWN]:
        log.warning("%s: changed after planning: %s", path, what)
    _tell_growth(plan, {path: info for path, info in changed.items() if path not in others})
    left_out = tuple((partition.number, partition.number + 1) for partition in pointed.current if _touches(partition, others))
    return Resumed(replace(pointed, superseded=pointed.superseded + left_out), _as_error(others, commits.folder.root))


def point_at_what_is_there(plan: Plan, config: CorpusConfig) -> Plan:
    """The plan over the files as they are now, whatever is in them: for who compares what is read with a receipt's digest. What is gone stays as planned."""
    try:
        now = {info.path: info for _, info in list_corpus(config)}
    except JobError:
        return plan
    changed = {path: now[path] for entry in plan.listing if (path := str(entry["path"])) in now and differs(entry, now[path])}
    return _pointed_at(plan, changed) if changed and plan.holds_input_digests else plan


def require_same_inputs(plan: Plan, commits: CommitLog, *, limited: bool) -> None:
    """Before the manifest: files of this machine that changed while they were read, their size and time set back, are read again. InputChanged.

    An etag or a time that differs stops the reader itself; what it cannot see is an edit that sets the time back.
    """
    if not plan.holds_input_digests:
        return
    entries = [entry for entry in plan.listing if entry.get("identity")]
    with ThreadPoolExecutor(LOOKING_AT_ONCE, thread_name_prefix="inputs") as threads:
        found = threads.map(lambda entry: look_at(str(entry["path"])), entries)
        changed = {info.path: info for entry, info in zip(entries, found, strict=True) if info is not None and differs(entry, info)}
    if changed and (error := _as_error(_read_otherwise(plan, commits, changed, limited), commits.folder.root)) is not None:
        raise error


def _as_error(others: Mapping[str, str], root: str) -> InputChanged | None:
    if not others:
        return None
    more = f", and {several(len(others) - SHOWN, 'more file')}" if len(others) > SHOWN else ""
    said = "; ".join(f"{path}: {what}" for path, what in list(others.items())[:SHOWN])
    return InputChanged(f"input_changed: {several(len(others), 'corpus file')} changed after planning: {said}{more}: {ADVICE.format(root=root)}")


def _read_otherwise(plan: Plan, commits: CommitLog, changed: Mapping[str, FileInfo], limited: bool) -> dict[str, str]:
    """Path -> what is wrong, of the changed files with which the job cannot resume."""
    entries = [entry for entry in plan.listing if entry["path"] in changed]
    others = {str(entry["path"]): what for entry in entries if (what := _lost_rows(entry, changed[str(entry["path"])], limited))}
    committed, pointed = _committed(commits), _pointed_at(plan, changed)
    touched = [partition for partition in pointed.current if partition.number in committed and _touches(partition, changed)]
    log.warning(
        "%s no longer as planned (%s): what is committed of %s is read again and compared",
        several(len(changed), "corpus file"), _named(changed), several(len(touched), "partition"),
    )  # fmt: skip
    for partition in touched:
        if not _touches(partition, others) and (what := _compare(pointed, partition, committed[partition.number])):
            others |= {segment.path: what for segment in partition.segments if segment.path in changed}
    return others


def _lost_rows(entry: Mapping[str, object], info: FileInfo, limited: bool) -> str:
    """What is wrong with a file that the planned ranges would not read whole. What is read front to back is read to its end, wherever that is now.

    limited: the plan holds the first rows alone (--limit). Lines that were appended are like files that came later: they are left out, and told.
    """
    if entry["error"] or limited:
        return ""
    try:
        with closing(open_input(info.path, info.size, info.version)) as source:
            return FORMATS[str(entry["format"])].rows_lost(source, entry)
    except DataError as error:
        return str(error)


def _has_ranges(entry: Mapping[str, object]) -> bool:
    compression = entry["compression"]
    return FORMATS[str(entry["format"])].has_byte_ranges(None if compression is None else str(compression))


Committed = dict[int, tuple[str, bool]]  # of one partition: ordinal -> (digest of its input, whether it is the last)


def _committed(commits: CommitLog) -> dict[int, Committed]:
    """By partition."""
    table = commits.columns(["partition", "ordinal", "input_digest", "last"])
    found: dict[int, Committed] = {}
    for number, ordinal, digest, last in zip(*(column.to_pylist() for column in table.columns), strict=True):
        found.setdefault(number, {})[ordinal] = (digest, last)
    return found


def _compare(plan: Plan, partition: Partition, committed: Committed) -> str:
    """What is wrong, where a partition does not read as it did for what is committed of it."""
    left = dict(committed)
    try:
        for end in _shard_ends(plan, partition):
            if left.pop(end.ordinal, None) not in (None, (end.input_digest, end.last)):
                return f"other rows than those that are committed of partition {partition.number}"
            if not left:
                return ""
    except InputChanged as error:
        return error.what
    except DataError as error:
        return str(error)
    return f"fewer rows than are committed of partition {partition.number}"


def _shard_ends(plan: Plan, partition: Partition) -> Iterator[ShardEnd]:
    unreadable = {str(entry["path"]): str(entry["error"]) for entry in plan.listing if entry["error"]}
    batches = read_rows(partition, plan.rows, unreadable=unreadable)
    return (item for item in cut(batches, plan.rows_per_shard, (), LIMITS["cpu"]) if isinstance(item, ShardEnd))


def _touches(partition: Partition, paths: Collection[str]) -> bool:
    return any(segment.path in paths for segment in partition.segments)


def _pointed_at(plan: Plan, changed: Mapping[str, FileInfo]) -> Plan:
    """The plan over the files as they are now; ids, ranges and names stay."""
    return replace(
        plan,
        partitions=tuple(_pointed(partition, changed) if _touches(partition, changed) else partition for partition in plan.partitions),
        listing=tuple(entry | _state(changed[str(entry["path"])]) if entry["path"] in changed else entry for entry in plan.listing),
    )


def _pointed(partition: Partition, changed: Mapping[str, FileInfo]) -> Partition:
    segments = (replace(each, seen=(changed[each.path].size, changed[each.path].version)) if each.path in changed else each for each in partition.segments)
    return replace(partition, segments=tuple(segments))


def _state(info: FileInfo) -> dict[str, object]:
    return {"size": info.size, "version": info.version, "identity": info.identity}


def _tell_growth(plan: Plan, changed: Mapping[str, FileInfo]) -> None:
    grown = [path for entry in plan.listing if (path := str(entry["path"])) in changed and _has_ranges(entry) and changed[path].size > int(str(entry["size"]))]
    if grown:
        log.warning("%s grew after planning: %s; the lines that were appended are left out", several(len(grown), "corpus file"), _named(grown))


def _named(paths: Collection[str]) -> str:
    listed = list(paths)
    return ", ".join(listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")
