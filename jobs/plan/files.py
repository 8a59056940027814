"""A plan and its files: `_embermill/plan/000001/` holds segments and inputs, each named by the hash of its content, and, written last, root.json.

Each is created if absent and never removed or replaced. Two drivers that plan at once may both leave segments and inputs there; whoever creates
root.json first decides, and the plan is what that names. `redrive` writes 000002 and so on: the same plan, with partitions added that take the place of
others (`superseded`); the newest root counts.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from embermill.credentials import without_credentials
from embermill.jobs import remedies
from embermill.jobs.bookkeeping.copies import write_copy
from embermill.jobs.bookkeeping.hashed_table import create_hashed, decode_table, encode_table, read_hashed
from embermill.jobs.bookkeeping.seal import read_json, sealed_json
from embermill.jobs.bookkeeping.stored_keys import stored_form
from embermill.jobs.bookkeeping.table_form import require_table
from embermill.jobs.config import IF_ABSENT, kept_in_dataset
from embermill.jobs.corpus.rows import RowSchema
from embermill.jobs.engine import Output
from embermill.jobs.errors import MetadataDamaged, UsageError
from embermill.jobs.partition import PLAN_FORMAT, Partition
from embermill.jobs.plan.copies import KEY as COPIES_KEY
from embermill.jobs.plan.copies import PLANS, ROOT_KEYS, copy_of
from embermill.jobs.plan.dataset_format import TABLE_SUFFIXES, ensure_format, read_format
from embermill.jobs.plan.partitions import SEGMENT_SCHEMA, ChosenPartitions, StoredPartitions, numbers_of, segment_table, text_bytes_of
from embermill.jobs.plan.root_form import require_columns, require_partitions, require_root
from embermill.jobs.storage import AlreadyExists, Folder
from embermill.jobs.vectors.form import StoredVector, from_json, stored_vectors
from embermill.jobs.wording import describe_damage

ROOT = f"{PLANS}/000001/root.json"
_ROOT_NAME = re.compile(rf"{PLANS}/(\d{{6}})/root\.json")
SEGMENTS, INPUTS = "segments", "inputs"
VERSION_COLUMN = "version"  # of every shard: in which version of the dataset the row last changed; datasets of format 1 lack it
TABLE_NAME = re.compile(rf"({SEGMENTS}|{INPUTS})(-[0-9a-f]{{32}})?\.(?:parquet|pq)")  # older plans name them without the hash
MAX_PARTITIONS = 10**8  # of a plan
AFTER_THE_PLAN = ("_embermill/commits/", "_embermill/manifests/")
INPUT_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("name", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
        ("format", pa.string()),
        ("compression", pa.string()),
        ("rows", pa.int64()),
        ("error", pa.string()),
        ("identity", pa.string()),
    ]
)


@dataclass(frozen=True)
class Plan:
    """root.json, segments and inputs of one generation.

    fingerprint: the engine's, semantic; config: the configuration keys it was made from (resolved), for the message when they differ; as it is written down
    it holds no credential (config/signatures.py), which older plans may.
    schema: of every shard. rows_per_shard: input rows, refused ones included. device_kind, precision: what `auto` became.
    vectors: the columns that vectors are stored in; (), as in older plans: each output is one, of float32. `stored` says them either way.
    tells_versions: shards have a column `version`, footers say which files the rows are of, and bookkeeping and quarantine are not named *.parquet.
    """

    fingerprint: dict[str, str]
    config: dict[str, object]
    rows: RowSchema
    outputs: tuple[Output, ...]
    schema: pa.Schema
    rows_per_shard: int
    partitions: Sequence[Partition]
    device_kind: str
    precision: str
    id_stability: str  # "column" or "positional"
    listing: tuple[dict[str, object], ...]  # one entry per input file: path, size, version, identity, format, rows (None where unknown)
    superseded: tuple[tuple[int, int], ...] = ()  # ranges [first, end) of partition numbers that later ones stand in for
    holds_input_digests: bool = False  # whether footers and receipts hold a digest of all that was read; older plans' do not
    tells_versions: bool = False  # older plans' do not
    listed_s: float = 0.0  # when the corpus was listed, in seconds since 1970; 0 in plans that do not say
    version: int = 1  # of the dataset that its rows are of; above 1 for what `sync` adds
    names_model: bool = False  # whether footers name the model; older plans' do not
    vectors: tuple[StoredVector, ...] = ()

    @property
    def table_suffix(self) -> str:
        """How names of bookkeeping tables and of quarantine files end."""
        return TABLE_SUFFIXES[2 if self.tells_versions else 1]

    @cached_property
    def stored(self) -> tuple[StoredVector, ...]:
        """The columns of vectors that rows have."""
        return stored_vectors(self.outputs, self.vectors)

    @property
    def is_portable(self) -> bool:
        """Whether shards are written for readers that know neither lists of fixed size nor byte-stream splitting."""
        return self.config.get("output.encoding") == "portable"

    @property
    def model_name(self) -> str:
        """What made the vectors, for a person: a hub id, an address without credentials, the name of a folder, else the engine."""
        source = self.config.get("model.source") or self.config.get("model.engine") or ""
        name = without_credentials(str(source), mark="").partition("?")[0]
        return name.rstrip("/").rpartition("/")[2] if name.startswith("/") else name

    @cached_property
    def current(self) -> Sequence[Partition]:
        """The partitions that the dataset is made of: all that no later one stands in for. `partitions` holds those too, each at the place of its number."""
        if not self.superseded:
            return self.partitions
        gone = numbers_in(self.superseded)
        return ChosenPartitions(self.partitions, [number for number in range(len(self.partitions)) if number not in gone])

    def text_bytes(self, numbers: Sequence[int] | np.ndarray | None = None) -> int:
        """What those partitions were packed by, in all; None: all current ones."""
        chosen = np.asarray(numbers_of(self.current) if numbers is None else numbers, np.int64)
        return int(text_bytes_of(self.partitions)[chosen].sum())


def numbers_in(ranges: Iterable[tuple[int, int]]) -> frozenset[int]:
    """Raises ValueError for ranges that no plan has: the numbers of a million million partitions would fill the memory."""
    listed = list(ranges)
    if sum(max(0, end - first) for first, end in listed) > MAX_PARTITIONS:
        raise ValueError(f"superseded: ranges of more than {MAX_PARTITIONS} partitions")
    return frozenset(number for first, end in listed for number in range(first, end))


def write_plan(folder: Folder, plan: Plan) -> None:
    """Write it down, durably. AlreadyExists where another plan is there: read that one. UsageError where the folder holds other things."""
    require_place(folder)
    ensure_format(folder, 2 if plan.tells_versions else 1)
    _write(folder, plan, 1)


def write_amended(folder: Folder, plan: Plan) -> None:
    """The next generation of the dataset's plan, which counts from now on. For the holder of the lease. AlreadyExists where another was there first."""
    _write(folder, plan, _newest_generation(folder) + 1)


def _write(folder: Folder, plan: Plan, generation: int) -> None:
    base = f"{PLANS}/{generation:06d}"
    table = segment_table(plan.partitions)
    segments = _create_table(folder, f"{base}/{SEGMENTS}", plan.table_suffix, table)
    listing = pa.Table.from_pylist([dict(entry) for entry in plan.listing], schema=INPUT_SCHEMA)
    inputs = _create_table(folder, f"{base}/{INPUTS}", plan.table_suffix, listing)
    root = sealed_json(_root(plan, table.num_rows) | {SEGMENTS: segments, INPUTS: inputs})
    try:
        folder.create(f"{base}/root.json", root)
    except AlreadyExists:
        if folder.read(f"{base}/root.json") != root:
            raise
    write_copy(folder, copy_of(f"{base}/root.json"), root)


def _newest_generation(folder: Folder) -> int:
    return max((int(match[1]) for name, _ in folder.list(PLANS) if (match := _ROOT_NAME.fullmatch(name))), default=1)


def read_superseded(folder: Folder) -> frozenset[int]:
    """Numbers of partitions whose receipts count no more. MetadataDamaged where the plan cannot be read."""
    if (generation := _newest_generation(folder)) == 1:  # nothing was redriven: the plan is not read for it
        return frozenset()
    name = f"{PLANS}/{generation:06d}/root.json"
    try:
        return numbers_in(tuple(pair) for pair in read_json(folder.read(name), ROOT_KEYS)["superseded"])
    except (FileNotFoundError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(folder, name, f"is damaged: {error}") from None


def require_plan(folder: Folder) -> Plan:
    """The dataset's plan. UsageError where there is none; else as read_plan."""
    plan = read_plan(folder)
    if plan is None:
        raise UsageError(f"{folder.root}: there is no dataset here (no _embermill/plan): expected the output.uri of an `embermill run`")
    return plan


def read_plan(folder: Folder) -> Plan | None:
    """The dataset's plan; None where there is none yet. UsageError for a format of another version, MetadataDamaged where it cannot be read or is lost."""
    read_format(folder)
    base = f"{PLANS}/{_newest_generation(folder):06d}"
    name = f"{base}/root.json"
    try:
        root = read_json(folder.read(name), ROOT_KEYS)
    except FileNotFoundError:
        _require_nothing_planned(folder)
        return None
    except (ValueError, RecursionError) as error:
        raise _damaged(folder, name, f"is damaged: {error}") from None
    if root.get("plan_format") != PLAN_FORMAT:
        raise UsageError(
            f"{folder.root}/{name}: made by another version: expected plan_format {PLAN_FORMAT}, got {root.get('plan_format')}: "
            "use that version, or another output.uri"
        )
    try:
        return _parse(folder, base, root)
    except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError, pa.ArrowException) as error:
        raise _damaged(folder, name, f"is damaged: {describe_damage(error)}") from error


def _parse(folder: Folder, base: str, root: dict[str, Any]) -> Plan:
    require_root(root)
    segments, inputs = _checked(folder, base, root[SEGMENTS]), _checked(folder, base, root[INPUTS])
    require_table(segments, SEGMENT_SCHEMA, ("compression",))
    require_table(inputs, INPUT_SCHEMA, ("compression", "format", "rows", "error", "identity"))
    require_partitions(segments)
    partitions, listing = StoredPartitions(segments), tuple(inputs.to_pylist())
    rows, schema, outputs = _row_schema(root["rows"]), schema_from_text(root["schema_arrow"]), tuple(Output(**output) for output in root["outputs"])
    vectors = tuple(map(from_json, root.get("vectors", ())))
    require_columns(schema, rows.id_name, (name for _, name, _ in rows.kept), {each.column: each.arrow_type for each in stored_vectors(outputs, vectors)})
    return Plan(
        fingerprint=root["fingerprint"],
        config=IF_ABSENT | root["config"],
        rows=rows,
        outputs=outputs,
        schema=schema,
        rows_per_shard=root["rows_per_shard"],
        partitions=partitions,
        device_kind=root["device_kind"],
        precision=root["precision"],
        id_stability=root["id_stability"],
        listing=listing,
        holds_input_digests=bool(root.get("holds_input_digests", False)),
        tells_versions=bool(root.get("tells_versions", False)),
        superseded=tuple((int(first), int(end)) for first, end in root.get("superseded", ())),
        listed_s=float(root.get("listed_s", 0.0)),
        version=int(root.get("version", 1)),
        names_model=bool(root.get("names_model", False)),
        vectors=vectors,
    )


def _row_schema(stored: dict[str, Any]) -> RowSchema:
    """Keys that came later, and that this plan may lack, have their value in RowSchema."""
    types = schema_from_text(stored["types"])
    kept = tuple((source, name, types.field(number).type) for number, (source, name) in enumerate(stored["kept"], 1))
    others: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in stored.items() if name not in ("types", "kept")}
    return RowSchema(id_type=types.field(0).type, kept=kept, **others)


def require_place(folder: Folder) -> None:
    """UsageError where no dataset can be begun or resumed: another program's files, another version's format, a place that cannot be written."""
    if read_format(folder) is None and any(True for _ in folder.list("data")):
        raise UsageError(f"{folder.root}: holds a folder data/ that no dataset of ours made: choose another output.uri")
    folder.require_writable()


def _require_nothing_planned(folder: Folder) -> None:
    """A plan is the first that is written: where commits or a manifest stand without one, it was lost."""
    later = next((name for name, _ in folder.list("_embermill") if name.startswith(AFTER_THE_PLAN)), None)
    if later is not None:
        raise _damaged(folder, ROOT, f"is gone, though {later} stands")


def _damaged(folder: Folder, name: str, what: str) -> MetadataDamaged:
    return MetadataDamaged(folder.root, name, what, remedies.PLAN)


def _create_table(folder: Folder, kind: str, suffix: str, table: pa.Table) -> dict[str, str]:
    """Put it there, where it is not yet, and describe it for the root, which names it without its folder. kind: how its name begins."""
    data = encode_table(table)
    described = create_hashed(folder, kind, data, remedy=remedies.PLAN, suffix=suffix)
    write_copy(folder, copy_of(described["file"]), data)
    return described | {"file": described["file"].rpartition("/")[2]}


def _checked(folder: Folder, base: str, described: dict[str, Any]) -> pa.Table:
    if not TABLE_NAME.fullmatch(str(described["file"])):
        raise _damaged(folder, f"{base}/root.json", f"names a file that is none of a plan's: {str(described['file'])[:80]!r}")
    return decode_table(read_hashed(folder, described | {"file": f"{base}/{described['file']}"}, named_by="the plan's root", remedy=remedies.PLAN))


def _root(plan: Plan, segments: int) -> dict[str, Any]:
    rows = plan.rows
    types = pa.schema([("id", rows.id_type), *((name, kind) for _, name, kind in rows.kept)])
    others = {name: value for name, value in stored_form(rows).items() if name not in ("id_type", "kept")}
    return {
        "plan_format": PLAN_FORMAT,
        "fingerprint": plan.fingerprint,
        "config": kept_in_dataset(plan.config),
        "rows": others | {"kept": [(source, name) for source, name, _ in rows.kept], "types": schema_text(types)},
        "outputs": [stored_form(output) for output in plan.outputs],
        "schema": [{"name": field.name, "type": str(field.type), "nullable": field.nullable} for field in plan.schema],
        "schema_arrow": schema_text(plan.schema),
        "rows_per_shard": plan.rows_per_shard,
        "device_kind": plan.device_kind,
        "precision": plan.precision,
        "id_stability": plan.id_stability,
        "totals": {
            "files": len(plan.listing),
            "partitions": len(plan.partitions),
            "segments": segments,
            "input_bytes": sum(int(str(entry["size"])) for entry in plan.listing),
            "text_bytes": int(text_bytes_of(plan.partitions).sum()),
        },
        "holds_input_digests": plan.holds_input_digests,
        "tells_versions": plan.tells_versions,
        "names_model": plan.names_model,
        COPIES_KEY: True,
        "listed_s": plan.listed_s,
    } | ({"superseded": plan.superseded} if plan.superseded else {}) | ({"version": plan.version} if plan.version > 1 else {}) | (
        {"vectors": [vector.to_json() for vector in plan.vectors]} if plan.vectors else {}
    )


def schema_text(schema: pa.Schema) -> str:
    """In one word; schema_from_text is its inverse."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def schema_from_text(text: str) -> pa.Schema:
    """ValueError where it is none."""
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
        str(schema)  # every name in it can be read; UnicodeDecodeError is a ValueError
        return schema
    except OSError as error:  # Arrow's word on the bytes
        raise ValueError(f"a schema cannot be read: {error}") from None
