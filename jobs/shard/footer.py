"""Names of published files, and what their Parquet footers say.

A footer holds only what follows from the corpus and the plan, so that the same rows give the same bytes: which partition and
which rows of it, how many were refused, whether another shard follows. What differs from run to run goes to the receipt.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from embermill.jobs.bookkeeping.stored_keys import added, stored_form
from embermill.jobs.partition import Partition
from embermill.jobs.plan.changes import fingerprint_changes
from embermill.jobs.plan.files import Plan, schema_text
from embermill.jobs.shard import names

DATA, QUARANTINE = names.DATA, "quarantine"
FOOTER_FORMAT = "1"
PREFIX = "embermill."
SCHEMA_KEY = PREFIX + "schema"  # of a portable file: its Arrow schema, which other readers must not see
MAX_SEGMENTS_BYTES = 1 << 18  # a partition of 100,000 tiny files would make a footer that readers refuse; the plan holds them all

FILE_PATTERN = r"part-\d{9}-\d{3,}-[0-9a-f]{8}\.(?:parquet|pq)"
_NAME = re.compile(rf"(?P<folder>{DATA}(?=.*\.parquet)|{QUARANTINE})/part-(?P<partition>\d{{9}})-(?P<ordinal>\d{{3,}})-(?P<id>[0-9a-f]{{8}})\.(?:parquet|pq)")


def published_name(plan: Plan, folder: str, partition: Partition, ordinal: int) -> str:
    """folder: DATA or QUARANTINE. Names sort in row order."""
    return names.shard_name(partition, ordinal, folder=folder, suffix=plan.table_suffix if folder == QUARANTINE else ".parquet")


def parse_name(name: str) -> tuple[str, int, int, str] | None:
    """(folder, partition number, ordinal, first 8 digits of the partition's id), or None for a name that no writer of ours makes."""
    match = _NAME.fullmatch(name)
    return None if match is None else (match["folder"], int(match["partition"]), int(match["ordinal"]), match["id"])


def is_of_later_version(name: str) -> bool:
    """Whether it is of the quarantine of a version that `sync` made: quarantine/000002/…, of which no run's receipt tells."""
    return re.match(rf"{QUARANTINE}/\d{{6,}}/", name) is not None


@dataclass(frozen=True)
class Footer:
    """What both files of a pair, shard and quarantine, say of themselves.

    first_row: ordinal within the partition of the first input row. rows_in == rows_out + rows_quarantined.
    last: no further shard follows in this partition. plan: what of the plan shapes the rows, see plan_digest.
    """

    fingerprint: str  # the plan's, as JSON
    plan: str
    partition: int
    partition_id: str
    ordinal: int
    segments: str  # JSON list, or its count and digest where it is long
    first_row: int
    rows_in: int
    rows_out: int
    rows_quarantined: int
    last: bool
    input_digest: str = added("")  # of all that was read for the pair
    values_clipped: int = added(0, compare=False)  # numbers of vectors that were too large for their codes; another GPU may count one more
    unknown_words: int = added(0)  # of chunks: pieces of over 64 characters of words that the tokenizer takes for one unknown token
    files: str = added("")  # JSON: [place of the file among the partition's files, rows], in row order; "" in datasets of format 1

    def to_metadata(self) -> dict[str, str]:
        """Keys and values for Parquet."""
        values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in stored_form(self).items()}
        return {PREFIX + "format": FOOTER_FORMAT} | {PREFIX + key: value for key, value in values.items()}

    @staticmethod
    def from_metadata(metadata: Mapping[bytes, bytes] | None) -> Footer | None:
        """None where the file was not written by us, or by a format that this version does not know."""
        text = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in (metadata or {}).items()}
        if text.get(PREFIX + "format") != FOOTER_FORMAT:
            return None
        try:
            strings = {key: text[PREFIX + key] for key in ("fingerprint", "plan", "partition_id", "segments")}
            numbers = {key: int(text[PREFIX + key]) for key in ("partition", "ordinal", "first_row", "rows_in", "rows_out", "rows_quarantined")}
            numbers |= {key: int(text.get(PREFIX + key, "0")) for key in ("values_clipped", "unknown_words")}
            added_later = {key: text.get(PREFIX + key, "") for key in ("input_digest", "files")}
            return Footer(**strings, **numbers, **added_later, last=text[PREFIX + "last"] == "true")  # type: ignore[arg-type]
        except (KeyError, ValueError):
            return None


def make_footer(
    plan: Plan, partition: Partition, ordinal: int, *, rows_out: int, rows_quarantined: int, last: bool, input_digest: str = "", files: str = "",
    values_clipped: int = 0, unknown_words: int = 0,
) -> Footer:  # fmt: skip
    return Footer(
        fingerprint=json.dumps(plan.fingerprint, sort_keys=True),
        plan=plan_digest(plan),
        partition=partition.number,
        partition_id=partition.id,
        ordinal=ordinal,
        segments=_describe_segments(partition),
        first_row=ordinal * plan.rows_per_shard,
        rows_in=rows_out + rows_quarantined,
        rows_out=rows_out,
        rows_quarantined=rows_quarantined,
        last=last,
        input_digest=input_digest,
        values_clipped=values_clipped,
        unknown_words=unknown_words,
        files=files,
    )


def told_by_files(plan: Plan) -> dict[str, str]:
    """What every file of rows says for whoever finds it alone, as Parquet metadata. Nothing of it is compared: the fingerprint is."""
    said = {PREFIX + "model": plan.model_name} if plan.names_model else {}
    said |= {PREFIX + "vectors": json.dumps([vector.to_json() for vector in plan.vectors])} if plan.vectors else {}
    said |= {PREFIX + "uuid": json.dumps(plan.rows.uuid_columns)} if plan.rows.uuid_columns else {}
    return said | ({SCHEMA_KEY: schema_text(plan.schema)} if plan.is_portable else {})


def explain_mismatch(found: Footer, plan: Plan, partition: Partition, ordinal: int) -> str | None:
    """Why a published file is not this plan's shard, in words; None where it is."""
    told = {name: getattr(found, name) for name in ("rows_out", "rows_quarantined", "last", "input_digest", "unknown_words", "files")}
    expected = make_footer(plan, partition, ordinal, **told)
    for key, value in vars(expected).items():
        if key == "fingerprint":
            if changes := _fingerprint_changes(found.fingerprint, plan.fingerprint):
                return f"it was made with other settings: {changes}"
        elif key != "values_clipped" and getattr(found, key) != value:
            return f"its footer says {key} = {_shorten(getattr(found, key))}, this plan says {_shorten(value)}"
    return None


def plan_digest(plan: Plan) -> str:
    """Of what shapes the rows beside the fingerprint: columns, schema, rows per shard.

    A partition's id comes from the corpus alone: a folder whose plan was deleted could hold shards of the same corpus and other columns.
    """
    rows = stored_form(plan.rows) | {"id_type": str(plan.rows.id_type), "kept": [[source, name, str(kind)] for source, name, kind in plan.rows.kept]}
    columns = [[field.name, str(field.type), field.nullable] for field in plan.schema]
    forms = [[vector.to_json() for vector in plan.vectors]] if plan.vectors else []  # a scale shows in no column
    described = json.dumps([rows, columns, plan.rows_per_shard, *forms], sort_keys=True)
    return hashlib.blake2b(described.encode(), digest_size=16).hexdigest()


def _shorten(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "…"


def _describe_segments(partition: Partition) -> str:
    described = json.dumps([segment.planned() for segment in partition.segments], sort_keys=True)
    if len(described) <= MAX_SEGMENTS_BYTES:
        return described
    return json.dumps({"count": len(partition.segments), "blake2b": hashlib.blake2b(described.encode(), digest_size=16).hexdigest()})


def _fingerprint_changes(found: str, expected: Mapping[str, str]) -> str:
    try:
        other = json.loads(found)
    except (ValueError, RecursionError):
        other = None
    if not isinstance(other, dict):
        return "its fingerprint cannot be read"
    return ", ".join(fingerprint_changes(other, expected))
