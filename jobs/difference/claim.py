"""Step 0 of a sync: what the corpus looks like decides which version is made, and all that follows is held against that.

    _embermill/claims/000002.json            number, parent, and the rest of a Claim (dataset/metadata/claims.py)
    _embermill/sync/inputs-HASH.pq           the listing: inputs.SCHEMA, named by the hash of its content
    _embermill/sync/000002/listed.json       when it was listed
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from embermill.jobs import remedies
from embermill.jobs.bookkeeping.hashed_table import create_hashed, decode_table, encode_table, read_hashed
from embermill.jobs.bookkeeping.seal import read_json, sealed_json
from embermill.jobs.dataset.metadata.claims import claim_number
from embermill.jobs.dataset.metadata.claims import read_claim as read_stored
from embermill.jobs.dataset.metadata.versions import Version, read_passed_over
from embermill.jobs.difference.inputs import Comparison, CorpusFile, Inputs, State, from_table, to_table
from embermill.jobs.difference.making import SYNC, sync_folder
from embermill.jobs.errors import MetadataDamaged
from embermill.jobs.plan.files import Plan
from embermill.jobs.storage import AlreadyExists, Folder

CAUSE = "sync"
INPUTS, LISTED, NEXT_FILE = "inputs", "listed_s", "next_file"  # keys of Version.details
log = logging.getLogger(__name__)
REMEDY = "Restore it from a copy; while there is none, `embermill sync --rescan` reads every file again and makes a version without it"


@dataclass(frozen=True)
class Claim:
    """What version `number` is made from. options: of the command and the configuration, as far as they shape the version.

    buckets: of the keys. next_file: number of the next corpus file that is new. text_bytes: of a partition to scan.
    """

    number: int
    parent: int
    options: dict[str, Any]
    buckets: int
    next_file: int
    text_bytes: int
    inputs: dict[str, str]
    files: tuple[CorpusFile, ...]

    @property
    def comparison(self) -> Comparison:
        return Comparison(self.files, self.next_file)

    @property
    def numbers(self) -> dict[str, int]:
        """Path -> number, of the files that are there."""
        return {file.path: file.number for file in self.files if file.state != State.GONE}


def claim(folder: Folder, found: Comparison, *, options: dict[str, Any], buckets: int, text_bytes: int) -> tuple[Claim, Version]:
    """The version to make, and its parent: the same number as a sync that was killed, if all that decides is the same. For the holder of the lease."""
    described = write_table(folder, f"{SYNC}/{INPUTS}", to_table(found.files))
    details: dict[str, Any] = {"options": options, "buckets": buckets, NEXT_FILE: found.next_number, "text_bytes": text_bytes, INPUTS: described}
    number, parent = claim_number(folder, CAUSE, details)
    return Claim(number, parent.number, files=found.files, **details), parent


def read_claim(folder: Folder, number: int) -> Claim:
    """For workers: what a driver has claimed. MetadataDamaged where it cannot be read."""
    stored = read_stored(folder, number)
    if stored is None:
        raise MetadataDamaged(folder.root, f"_embermill/claims/{number:06d}.json", "is gone", "Run `embermill sync` again")
    details = stored["details"]
    return Claim(number, stored["parent"], files=from_table(read_table(folder, details[INPUTS])), **details)


def note_listing(folder: Folder, number: int, listed_s: float) -> float:
    """When the claim's listing was made, in seconds since 1970: of whoever was first to say so."""
    name = f"{sync_folder(number)}/listed.json"
    with contextlib.suppress(AlreadyExists):
        folder.create(name, sealed_json({LISTED: listed_s}))
    try:
        return float(read_json(folder.read(name), {LISTED})[LISTED])
    except (ValueError, KeyError, TypeError) as error:
        raise MetadataDamaged(folder.root, name, f"is damaged: {error}", remedies.OF_A_MAKER) from None


def inputs_of(folder: Folder, plan: Plan, version: Version, *, rescan: bool = False) -> Inputs:
    """What a committed version was made from; of the first one the plan says it.

    rescan: where every file is read anyway, a listing that is lost is as if no file had been seen; rows are known by their ids.
    """
    if INPUTS not in version.details:
        return Inputs(tuple(_planned(plan.listing)), plan.listed_s, len(plan.listing))
    try:
        return _listed(folder, version)
    except MetadataDamaged as error:
        if not rescan:
            raise
        log.warning("%s", error)
        return Inputs((), float(version.details[LISTED]), int(version.details[NEXT_FILE]))


def latest_inputs(folder: Folder, plan: Plan, newest: Version, *, rescan: bool = False) -> Inputs:
    """The same of the newest version, as a later sync has found them that saw no row changed (sync/passing_over.py)."""
    later = read_passed_over(folder, newest.number)
    if later is not None:
        try:
            return _listed(folder, later)
        except MetadataDamaged as error:
            log.debug("%s", error)
    return inputs_of(folder, plan, newest, rescan=rescan)


def can_be_listed(folder: Folder, version: Version) -> bool:
    """Whether what it was made from can be read."""
    try:
        return INPUTS not in version.details or bool(_listed(folder, version))
    except MetadataDamaged:
        return False


def _listed(folder: Folder, version: Version) -> Inputs:
    files = from_table(read_table(folder, version.details[INPUTS]))
    return Inputs(files, float(version.details[LISTED]), int(version.details[NEXT_FILE]))


def _planned(listing: Sequence[dict[str, object]]) -> Sequence[CorpusFile]:
    return [
        CorpusFile(
            number, str(entry["path"]), str(entry["name"]), int(str(entry["size"])), str(entry["version"]), str(entry.get("identity") or ""),
            quarantined=1 if entry["error"] else 0,
        )
        for number, entry in enumerate(listing)
    ]  # fmt: skip


def write_table(folder: Folder, stem: str, table: pa.Table) -> dict[str, str]:
    """STEM-HASH.pq, where it is not there yet: {"file", "sha256"}."""
    return create_hashed(folder, stem, encode_table(table, version="2.6", compression_level=1), remedy=REMEDY)


def read_table(folder: Folder, described: dict[str, str]) -> pa.Table:
    """MetadataDamaged where it is gone or damaged."""
    data = read_hashed(folder, described, named_by="the version", remedy=REMEDY)
    try:
        return decode_table(data)
    except ValueError as error:
        raise MetadataDamaged(folder.root, str(described["file"]), f"is damaged: {error}", REMEDY) from error
