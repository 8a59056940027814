"""The manifest: published last, it makes the dataset. A root in JSON (totals, fingerprint, outputs) and one row per shard in Parquet."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from embermill.counts import several
from embermill.jobs import remedies
from embermill.jobs.bookkeeping import expected_form
from embermill.jobs.bookkeeping.seal import broken_seal, read_json, sealed_json, sealed_pieces
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.completeness import GAP_COLUMNS, SHARD_COLUMNS, gaps, unfinished
from embermill.jobs.dataset.metadata.receipt_table import NOT_COMPARED, SCHEMA, Totals, add_totals, receipt_pieces, same_rows, sum_lengths, sum_receipts
from embermill.jobs.dataset.metadata.retirement import is_retired
from embermill.jobs.errors import DataError, Interrupted, MetadataDamaged, UsageError
from embermill.jobs.plan.files import Plan
from embermill.jobs.shard.contents import Damaged, open_parquet
from embermill.jobs.shard.footer import DATA, QUARANTINE, is_of_later_version, parse_name
from embermill.jobs.storage import AlreadyExists, Folder
from embermill.jobs.token_lengths import Histogram, merge_lengths, percentile
from embermill.jobs.wording import describe_damage

MANIFESTS = "_embermill/manifests"
MANIFEST_FORMAT = 1
KEYS_BEFORE_CHECKSUMS = frozenset(
    {"manifest_format", "created", "fingerprint", "device_kind", "precision", "id", "id_stability", "outputs", "totals", "token_lengths"}
    | {"provenance", "shards"}
)
FINDINGS = "findings"  # what the run that finished the dataset found (views/findings.py)
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_COUNTS = dict.fromkeys(("duplicate_ids", "duplicate_rows", "empty_texts"), expected_form.or_none(expected_form.number))
FORM = {
    "totals": {"": expected_form.number}, "fingerprint": {"": expected_form.text}, "created?": expected_form.text,
    "token_lengths": dict.fromkeys(PERCENTILES, expected_form.number), "provenance": {"": {"": expected_form.number}},
    "shards": {"file": expected_form.text, "sha256": expected_form.text},
    f"{FINDINGS}?": _COUNTS | dict.fromkeys(("files_changed", "files_gone"), expected_form.number),
}  # fmt: skip
KIND_DATA = "data"
FILES_AT_A_TIME = 1 << 14
FILE_COLUMNS = ("shard", "shard_bytes", "quarantine", "quarantine_bytes")
FOUND_COLUMNS = ("shard", "rows_out")
MOST_BYTES_HELD = 16 << 20  # of a manifest's rows as they are stored; larger ones are read again for whoever asks for more of them
MAX_VALUES_SUMMED_UP = 16  # of one key of the provenance; more (seconds, process ids) are only counted

_ROOT_NAME = re.compile(rf"{MANIFESTS}/(\d{{6}})\.json")
_ROWS_NAME = re.compile(rf"{MANIFESTS}/\d{{6}}\.(?:parquet|pq)")
_SCHEMA = pa.schema([pa.field("kind", pa.string(), nullable=False), pa.field("supersedes", pa.string()), *SCHEMA])


@dataclass(frozen=True)
class Manifest:
    """What a reader of the dataset goes by. read: some columns of its rows (None: all), a piece at a time."""

    name: str
    root: dict[str, Any]
    read: Callable[[Sequence[str] | None], Iterator[pa.Table]] = field(compare=False, repr=False)

    @cached_property
    def shards(self) -> pa.Table:
        """receipt_table.SCHEMA plus `kind` and `supersedes`, in row order. Large: `columns` and `pieces` take less."""
        return pa.concat_tables([_SCHEMA.empty_table(), *self.read(None)])

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of every receipt, in row order."""
        return pa.concat_tables([_SCHEMA.empty_table().select(names), *self.read(names)])

    def pieces(self) -> Iterator[pa.Table]:
        """Every receipt once, in row order, some thousands at a time."""
        return (piece.select(SCHEMA.names) for piece in self.read(None))

    @property
    def remedy(self) -> str:
        """What helps where it turns out to be damaged, or another dataset's."""
        return remedies.for_manifest(int(self.name.removesuffix(".json")[-6:]))

    @property
    def totals(self) -> Totals:
        return Totals(**{field.name: self.root["totals"].get(field.name, 0) for field in fields(Totals)})


def publish_manifest(folder: Folder, plan: Plan, log: CommitLog, find: Callable[[pa.Table], dict[str, Any]] | None = None) -> Manifest:
    """Check the account of the whole plan and publish it; where the newest manifest says the same already, that one is returned.

    find: what else is to be said in it, of the receipts' FOUND_COLUMNS.

    Raises Interrupted where something is left to do or another run publishes too, DataError where a committed file is gone or has another size,
    or where data/ holds a Parquet file that no commit names (a plain glob would read it).
    """
    left = unfinished(plan, log.columns(SHARD_COLUMNS))
    if len(left):
        raise Interrupted(f"not finished: {len(left)} of {several(len(plan.current), 'partition')}, the first of them is {left[0]}: run again")
    for gap in gaps(plan, log.columns(GAP_COLUMNS)):
        raise DataError(f"{folder.root}: the commits do not account for the plan: {gap}")
    newest = read_manifest(folder)
    if newest is None or not is_retired(folder, 1):
        check_files(folder, log.columns(FILE_COLUMNS))
    if newest is not None and _say_the_same(newest.pieces(), log.pieces()):
        return newest
    said = {} if newest is None else _said_beside(plan, newest)
    return _publish(folder, plan, log.pieces(), said if find is None else said | find(log.columns(FOUND_COLUMNS)))


def republish_manifest(folder: Folder, plan: Plan, manifest: Manifest, receipts: pa.Table) -> Manifest:
    """The same manifest with other receipts of the same shards, under the next number. receipts: at least receipt_table.SCHEMA."""
    return _publish(folder, plan, [receipts.select(SCHEMA.names)], _said_beside(plan, manifest))


def _said_beside(plan: Plan, manifest: Manifest) -> dict[str, Any]:
    """What does not follow from plan and receipts: what was found in the rows, and when the run was finished, which is the date of version 1."""
    follows = _describe(plan, _Account()).keys() | {"shards"}
    return {key: value for key, value in manifest.root.items() if key == "created" or key not in follows}


def _say_the_same(left: Iterable[pa.Table], right: Iterable[pa.Table]) -> bool:
    names = [name for name in SCHEMA.names if name not in NOT_COMPARED]
    return same_rows((piece.select(names) for piece in left), (piece.select(names) for piece in right))


def read_manifest(folder: Folder) -> Manifest | None:
    """The newest one; None where nothing was finished yet. Raises MetadataDamaged, UsageError for one of another version."""
    number = _newest(folder)
    return None if number is None else _read(folder, number)


def read_manifest_root(folder: Folder) -> dict[str, Any] | None:
    """What the newest one says of the dataset as a whole, without its row for each shard, which it is therefore not held against. Raises as read_manifest."""
    number = _newest(folder)
    return None if number is None else _read_root(folder, number)[0]


def _newest(folder: Folder) -> int | None:
    return max((int(match[1]) for name, _ in folder.list(MANIFESTS) if (match := _ROOT_NAME.fullmatch(name))), default=None)


def check_files(folder: Folder, table: pa.Table, superseded: frozenset[int] = frozenset()) -> None:
    """What stands in data/ and quarantine/ is what the receipts name, by name and size.

    superseded: partitions whose files may still are there, since the next run removes them.
    """
    if _same_files(folder, table):
        return
    standing = {name: info.size for prefix in (DATA, QUARANTINE) for name, info in folder.list(prefix)}
    named = named_files(table)
    for name, size in named.items():
        if standing.get(name) != size:
            found = "is gone" if name not in standing else f"has {standing[name]} bytes"
            raise DataError(f"{folder.root}/{name} {found}; its commit says {size} bytes. `embermill verify` says what else is damaged. {remedies.SHARD}.")
    ours = {name for name in standing if is_of_later_version(name)}
    strays = [name for name in sorted(standing.keys() - ours) if name not in named and name.endswith((".parquet", ".pq")) and not _is_of(name, superseded)]
    if strays:
        more = f" and {several(len(strays) - 1, 'more file')}" if len(strays) > 1 else ""
        raise DataError(f"{folder.root}/{strays[0]}{more}: named by no commit: move what is not ours out of data/ and quarantine/, and run again")


def _same_files(folder: Folder, table: pa.Table) -> bool:
    """Whether exactly the files are there that the receipts name, and no others; without a Python object for each."""
    for prefix, column in ((DATA, "shard"), (QUARANTINE, "quarantine")):
        named = pa.table({"name": table.column(column), "size": table.column(f"{column}_bytes")})
        named = named.filter(pc.is_valid(named.column("name"))).sort_by("name").combine_chunks()
        listing, found = folder.list(prefix), [named.slice(0, 0)]
        while listed := [*islice(listing, FILES_AT_A_TIME)]:
            found.append(pa.table({"name": [name for name, _ in listed], "size": [info.size for _, info in listed]}, schema=named.schema))
        if not pa.concat_tables(found).sort_by("name").equals(named):
            return False
    return True


def _is_of(name: str, partitions: frozenset[int]) -> bool:
    parsed = parse_name(name)
    return parsed is not None and parsed[1] in partitions


def named_files(table: pa.Table) -> dict[str, int]:
    """Name -> bytes of every shard and quarantine file."""
    files: dict[str, int] = {}
    for column in ("shard", "quarantine"):
        pairs = zip(table.column(column).to_pylist(), table.column(f"{column}_bytes").to_pylist(), strict=True)
        files |= {name: size for name, size in pairs if name is not None}
    return files


def length_percentiles(lengths: Histogram) -> dict[str, int]:
    """Tokens that so many percent of the documents do not exceed (to a bucket's bound, at most 6.25 % too high)."""
    return {name: percentile(lengths, share) for name, share in PERCENTILES.items()}


def _publish(folder: Folder, plan: Plan, pieces: Iterable[pa.Table], found: dict[str, Any]) -> Manifest:
    account = _Account()
    data = sealed_pieces(_SCHEMA, map(_with_kinds, map(account.add, pieces)))
    number, name = _claim_number(folder, data, plan.table_suffix)
    rows = {"file": name, "rows": account.rows, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    root = _describe(plan, account) | found | {"shards": rows}
    root_name = _root_name(number)
    try:
        folder.create(root_name, sealed_json(root))
    except AlreadyExists:
        other = _read(folder, number)
        if not same_rows(other.read(None), _pieces_of(data)):
            raise Interrupted(f"{folder.root}/{root_name} was published by another run meanwhile and names other shards: run again") from None
        return other
    return Manifest(root_name, root, lambda names: _read(folder, number).read(names))


def _with_kinds(receipts: pa.Table) -> pa.Table:
    kinds = pa.array([KIND_DATA] * receipts.num_rows, pa.string())
    return pa.Table.from_arrays([kinds, pa.nulls(receipts.num_rows, pa.string()), *receipts.columns], schema=_SCHEMA)


class _Account:
    """What a manifest's root says of all receipts, which come in pieces."""

    def __init__(self) -> None:
        self.lengths: Histogram = ()
        self.provenance: dict[str, dict[str, int]] = {}
        self._sums = list[Totals]()
        self.rows = 0

    def add(self, receipts: pa.Table) -> pa.Table:
        """The receipts, once they are counted."""
        self.rows += receipts.num_rows
        self._sums.append(sum_receipts(receipts))
        self.lengths = merge_lengths([self.lengths, sum_lengths(receipts)])
        count_provenance(receipts, self.provenance)
        return receipts

    @property
    def totals(self) -> dict[str, int]:
        return add_totals(self._sums).to_json()


def _claim_number(folder: Folder, data: bytes, suffix: str) -> tuple[int, str]:
    """Put the rows where they will be named from. A number whose rows are another's, left by a run that died before its root, is passed over."""
    taken = [int(name.rpartition("/")[2][:6]) for name, _ in folder.list(MANIFESTS) if _ROOT_NAME.fullmatch(name)]
    number = max(taken, default=0)
    while True:
        number += 1
        name = f"{MANIFESTS}/{number:06d}{suffix}"
        try:
            folder.create(name, data)
        except AlreadyExists:
            if folder.read(name) != data:
                continue
        return number, name


def _describe(plan: Plan, account: _Account) -> dict[str, Any]:
    return {
        "manifest_format": MANIFEST_FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "fingerprint": plan.fingerprint,
        "device_kind": plan.device_kind,
        "precision": plan.precision,
        "id": {"column": plan.rows.id_name, "type": str(plan.rows.id_type)},
        "id_stability": plan.id_stability,
        "outputs": [{"column": form.column, "kind": "dense"} | form.to_json() for form in plan.vectors] or [vars(output) for output in plan.outputs],
        "totals": account.totals | {"rows_unchanged": 0},
        "token_lengths": length_percentiles(account.lengths),
        "provenance": summarise(account.provenance),
    } | ({"uuid": [*plan.rows.uuid_columns]} if plan.rows.uuid_columns else {})


def summarise_provenance(table: pa.Table) -> dict[str, dict[str, int]]:
    """Key -> value -> shards of which it is true; of a key with many values only how many there are, under ""."""
    counts: dict[str, dict[str, int]] = {}
    count_provenance(table, counts)
    return summarise(counts)


def count_provenance(table: pa.Table, counts: dict[str, dict[str, int]]) -> None:
    """Add those of a table."""
    for chunk in table.column("provenance").chunks:
        entries = pa.table({"key": chunk.keys, "value": chunk.items})
        for row in entries.group_by(["key", "value"]).aggregate([([], "count_all")]).to_pylist():
            values = counts.setdefault(row["key"], {})
            values[row["value"]] = values.get(row["value"], 0) + row["count_all"]


def summarise(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return {key: values if len(values) <= MAX_VALUES_SUMMED_UP else {"": len(values)} for key, values in sorted(counts.items())}


def _read(folder: Folder, number: int) -> Manifest:
    """One manifest, held against its own sums."""
    name = _root_name(number)
    advice = remedies.for_manifest(number)
    root, file, sha256 = _read_root(folder, number)
    held: list[bytes] = []

    def read(columns: Sequence[str] | None) -> Iterator[pa.Table]:
        try:
            data = held[0] if held else folder.read(file)
            if hashlib.sha256(data).hexdigest() != sha256:
                raise Damaged(f"its sha256 is not the one in {name}")
            held[:] = [data] if len(data) <= MOST_BYTES_HELD else []
            yield from _pieces_of(data, columns)
        except FileNotFoundError:
            raise MetadataDamaged(folder.root, file, f"is gone, though {name} names it", advice) from None
        except Damaged as error:
            raise MetadataDamaged(folder.root, file, f"is damaged: {error}", advice) from error

    totals = add_totals(map(sum_receipts, read(None)))
    if totals.to_json() | {"rows_unchanged": 0} != root["totals"] or totals.rows_in != totals.rows_out + totals.rows_quarantined:
        what = f"is damaged: its totals {root['totals']} are not the sums of its shards {totals.to_json()}"
        raise MetadataDamaged(folder.root, name, what, advice)
    return Manifest(name, root, read)


def _read_root(folder: Folder, number: int) -> tuple[dict[str, Any], str, str]:
    """(root, file of its rows, that file's sha256)"""
    name = _root_name(number)
    try:
        return _parse_root(folder, name)
    except (ValueError, KeyError, TypeError) as error:
        raise MetadataDamaged(folder.root, name, f"is damaged: {describe_damage(error)}", remedies.for_manifest(number)) from error


def _parse_root(folder: Folder, name: str) -> tuple[dict[str, Any], str, str]:
    """ValueError, KeyError or TypeError where it is none."""
    root = read_json(folder.read(name), KEYS_BEFORE_CHECKSUMS)
    if root["manifest_format"] != MANIFEST_FORMAT:
        found = root["manifest_format"]
        raise UsageError(f"{folder.root}/{name}: expected manifest_format {MANIFEST_FORMAT}, got {found}: use the version that made it")
    expected_form.require_form(root, FORM)
    file = str(root["shards"]["file"])
    if not _ROWS_NAME.fullmatch(file):
        raise ValueError(f"it names a file that is none of a manifest's: {file[:200]!r}")
    return root, file, str(root["shards"]["sha256"])


def _pieces_of(data: bytes, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    if problem := broken_seal(data):
        raise Damaged(problem)
    with open_parquet(io.BytesIO(data)) as parquet:
        yield from receipt_pieces(parquet, _SCHEMA, columns)


def _root_name(number: int) -> str:
    return f"{MANIFESTS}/{number:06d}.json"
