"""Finished files get their names, create-if-absent: the first finisher wins, and who comes later looks at what is there before believing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from embermill.jobs.errors import DataError, Interrupted
from embermill.jobs.partition import Partition
from embermill.jobs.plan.files import Plan
from embermill.jobs.receipt import Receipt
from embermill.jobs.shard.contents import Damaged, ShardContents, file_sha256, read_shard
from embermill.jobs.shard.footer import DATA, QUARANTINE, Footer, explain_mismatch, published_name
from embermill.jobs.shard.quarantine import QuarantineContents, read_quarantine
from embermill.jobs.storage import AlreadyExists, Folder


@dataclass(frozen=True)
class PublishedFile:
    """One file of the dataset, as it stands."""

    name: str
    size: int
    sha256: str


def describe_published(folder: Folder, name: str) -> PublishedFile:
    """Size and sha256 of what is there. FileNotFoundError where nothing does."""
    with folder.open(name) as file:
        sha256 = file_sha256(file)
        return PublishedFile(name, file.tell(), sha256)


def inspect_shard(
    folder: Folder, plan: Plan, partition: Partition, ordinal: int, each: Callable[[pa.Table], None] | None = None
) -> tuple[PublishedFile, ShardContents]:
    """Read a published shard whole; each: also gets every row group. Damaged where it is not one, DataError where it is another plan's."""
    published = describe_published(folder, published_name(plan, DATA, partition, ordinal))
    with folder.open(published.name) as file:
        contents = read_shard(file, plan, each)
    _require_ours(folder, published.name, contents.footer, plan, partition, ordinal)
    return published, contents


def inspect_quarantine(folder: Folder, plan: Plan, partition: Partition, ordinal: int) -> tuple[PublishedFile, QuarantineContents]:
    """The same for a quarantine file."""
    published = describe_published(folder, published_name(plan, QUARANTINE, partition, ordinal))
    with folder.open(published.name) as file:
        contents = read_quarantine(file)
    _require_ours(folder, published.name, contents.footer, plan, partition, ordinal)
    return published, contents


def publish_shard(folder: Folder, plan: Plan, partition: Partition, temporary: Path, written: ShardContents) -> tuple[PublishedFile, ShardContents, bool]:
    """(the file that stands, what is in it, whether it was there before). written: what is in the temporary file, footer included.

    Other bytes than ours are taken where footer, ids and text hashes are the same: then the vectors came from another GPU or library version.
    """
    assert written.footer is not None
    name, ordinal = published_name(plan, DATA, partition, written.footer.ordinal), written.footer.ordinal
    ours = _describe_temporary(temporary, name)
    if _publish(folder, temporary, name):
        return ours, written, False
    there = describe_published(folder, name)
    if there == ours:
        return there, written, True
    try:
        there, contents = inspect_shard(folder, plan, partition, ordinal)
    except Damaged as error:
        raise Interrupted(_torn(folder, name, error)) from error
    if not same_rows(contents.footer, written.footer) or contents.key_digest != written.key_digest:
        raise DataError(_other_rows(folder, name, contents.footer, written.footer))
    return there, contents, True


def publish_quarantine(folder: Folder, plan: Plan, partition: Partition, temporary: Path, written: QuarantineContents) -> tuple[PublishedFile, bool]:
    """The same for a quarantine file; the wording of an error may differ."""
    assert written.footer is not None
    name, ordinal = published_name(plan, QUARANTINE, partition, written.footer.ordinal), written.footer.ordinal
    ours = _describe_temporary(temporary, name)
    if _publish(folder, temporary, name):
        return ours, False
    there = describe_published(folder, name)
    if there == ours:
        return there, True
    try:
        there, contents = inspect_quarantine(folder, plan, partition, ordinal)
    except Damaged as error:
        raise Interrupted(_torn(folder, name, error)) from error
    if not same_rows(contents.footer, written.footer) or replace(contents, footer=None) != replace(written, footer=None):
        raise DataError(_other_rows(folder, name, contents.footer, written.footer))
    return there, True


def make_receipt(
    footer: Footer,
    contents: ShardContents,
    shard: PublishedFile | None,
    quarantine: PublishedFile | None,
    *,
    adopted: bool,
    provenance: dict[str, str],
) -> Receipt:
    """contents: of the shard, empty where there is none."""
    return Receipt(
        partition=footer.partition,
        ordinal=footer.ordinal,
        partition_id=footer.partition_id,
        last=footer.last,
        rows_in=footer.rows_in,
        rows_out=footer.rows_out,
        rows_quarantined=footer.rows_quarantined,
        shard=shard.name if shard else None,
        shard_bytes=shard.size if shard else 0,
        shard_sha256=shard.sha256 if shard else "",
        quarantine=quarantine.name if quarantine else None,
        quarantine_bytes=quarantine.size if quarantine else 0,
        quarantine_sha256=quarantine.sha256 if quarantine else "",
        first_id=contents.first_id,
        last_id=contents.last_id,
        documents=contents.documents,
        tokens=contents.tokens,
        tokens_dropped=contents.tokens_dropped,
        rows_truncated=contents.rows_truncated,
        token_lengths=contents.token_lengths,
        adopted=adopted,
        provenance=provenance,
        input_digest=footer.input_digest,
        values_clipped=footer.values_clipped,
        unknown_words=footer.unknown_words,
    )


def _publish(folder: Folder, temporary: Path, name: str) -> bool:
    try:
        folder.publish(temporary, name)
    except AlreadyExists:
        return False
    return True


def _describe_temporary(temporary: Path, name: str) -> PublishedFile:
    with temporary.open("rb") as file:
        return PublishedFile(name, temporary.stat().st_size, file_sha256(file))


def _torn(folder: Folder, name: str, error: Exception) -> str:
    return f"{folder.root}/{name} already exists and is damaged: {error}. Run again: what no commit names is then set aside and done again."


def same_rows(found: Footer | None, expected: Footer | None) -> bool:
    """Whether two footers are of the same rows. One from before there were digests of the input, or runs of files, says nothing of them."""
    if found is None or expected is None:
        return found == expected
    if not (found.input_digest and expected.input_digest):
        found, expected = replace(found, input_digest=""), replace(expected, input_digest="")
    if not (found.files and expected.files):
        found, expected = replace(found, files=""), replace(expected, files="")
    return found == expected


def _other_rows(folder: Folder, name: str, found: Footer | None, expected: Footer | None) -> str:
    differing = [f"{key} = {value}, now {getattr(expected, key)}" for key, value in vars(found).items() if getattr(expected, key) != value]
    what = ", ".join(differing) or "other ids, texts or refused rows than were read now"
    return f"{folder.root}/{name} already exists with the same fingerprint and other rows: {what}. The corpus or its reader changed. Choose another output.uri."


def _require_ours(folder: Folder, name: str, footer: Footer | None, plan: Plan, partition: Partition, ordinal: int) -> None:
    reason = "its footer is not one of ours" if footer is None else explain_mismatch(footer, plan, partition, ordinal)
    if reason is not None:
        raise DataError(f"{folder.root}/{name} is where a file of this plan belongs, but {reason}: move it away, or choose another output.uri")
