"""JSON lines: an object a line, blank lines are none. Whole blocks go through Arrow's reader where it can be shown to read what json would;
every other block is parsed line by line.

Left alone, Arrow's reader takes invalid UTF-8 in silence, counts two objects on one line as two rows, joins an object that spans lines, swallows the line
after a broken one and fails the whole block on a lone surrogate. It is believed only where none of that can have happened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from embermill.jobs.corpus.arrow_types import declaration, id_type
from embermill.jobs.corpus.columns import ColumnFitter
from embermill.jobs.corpus.formats.format import Wanted
from embermill.jobs.corpus.formats.line_format import LineFormat
from embermill.jobs.corpus.formats.line_sample import LinesSample, ended, sampled_lines
from embermill.jobs.corpus.json_values import EXACT_IN_FLOAT64, Uncastable, cast, fits, kinds_seen, parse, readable_fast, stored, type_of
from embermill.jobs.corpus.lines import LineBlock, LongLine, bounds
from embermill.jobs.corpus.rows import Fault, RawRows, RefusedRange, RowSchema

# Arrow takes Inf and -NaN for numbers, json only NaN, Infinity and -Infinity; -0 among floats is -0.0 to Arrow and 0 to json.
ARROWS_OWN_NUMBERS = re.compile(rb"Inf(?!inity)\s*[,\]}]")
ARROWS_OWN_NEGATIVES = re.compile(rb"-(?:NaN|0\s*[,\]}])")


MAX_SHOWN = 60  # characters of a value in a message


class Mistyped(ValueError):
    """A value that the column's type cannot hold without loss."""


def read_jsonl(blocks: Iterable[LineBlock | LongLine], schema: RowSchema, path: str, *, numbered: bool) -> Iterator[RawRows | RefusedRange]:
    """numbered: read front to back, so that rows have numbers as well as bytes.

    A value that its column's type cannot hold without loss has its row refused (column_type), or is cast, or null, as on_schema_drift says.
    """
    reader = _BlockReader(schema, path)
    row = 0
    for block in blocks:
        if isinstance(block, LongLine):
            yield RefusedRange(1, row if numbered else None, block.offset, Fault("text_too_long", f"a line of {block.length} bytes", None))
            row += 1
            continue
        raw = reader.read(block)
        if numbered:
            raw = _numbered(raw, row)
        yield raw
        row += raw.num_rows


def _numbered(raw: RawRows, first: int) -> RawRows:
    return RawRows(raw.num_rows, raw.ids, raw.texts, raw.kept, np.arange(first, first + raw.num_rows, dtype=np.int64), raw.first_byte, raw.faults)


class _BlockReader:
    """Reads blocks of one file. A column that is used as two types (an integer id that is a text as well) is read line by line."""

    def __init__(self, schema: RowSchema, path: str) -> None:
        self.schema, self.path = schema, path
        self.fitter = ColumnFitter(schema)
        self.uses = _uses(schema)
        kinds = {name: {kind for used, kind in self.uses if used == name} for name in schema.columns}
        fast = {name: next(iter(found)) for name, found in kinds.items() if len(found) == 1 and readable_fast(next(iter(found)))}
        self.fast_schema = pa.schema(list(fast.items())) if len(fast) == len(kinds) else None
        self.floats = [name for name, kind in fast.items() if _holds(kind, pa.types.is_floating)]
        self.has_structs = any(_holds(kind, pa.types.is_struct) for kind in fast.values())

    def read(self, block: LineBlock) -> RawRows:
        starts, ends = bounds(block)
        batch = self._fast(block, starts, ends)
        if batch is None:
            return self._slow(block, starts, ends)
        ids, texts, kept, faults = self.fitter.fit(len(starts), dict(zip(batch.schema.names, batch.columns, strict=True)))
        return RawRows(len(starts), ids, texts, kept, None, self._first_bytes(block, starts), faults)

    def _first_bytes(self, block: LineBlock, starts: np.ndarray) -> np.ndarray:
        return np.where((starts == 3) & (block.offset == 0) & block.data.startswith(b"\xef\xbb\xbf"), 0, starts) + block.offset

    def _fast(self, block: LineBlock, starts: np.ndarray, ends: np.ndarray) -> pa.RecordBatch | None:
        """All lines in one go; None where Arrow's reader may differ from json.

        Every line begins with { and ends with }. Inside one JSON value no `}` is followed by `{` across a line end (a comma would stand between, and in a
        string a line end is an error), so each line holds whole objects; as many rows as lines then means one object a line.
        """
        if self.fast_schema is None or not len(starts) or (starts >= ends).any():
            return None
        data = np.frombuffer(block.data, np.uint8)
        if (data[starts] != ord("{")).any() or (data[ends - 1] != ord("}")).any():
            return None
        if not _is_utf8(block.data) or ARROWS_OWN_NUMBERS.search(block.data) or ARROWS_OWN_NEGATIVES.search(block.data):
            return None
        options = pa_json.ReadOptions(use_threads=False, block_size=len(block.data) + 1)
        # What is not in the schema is passed over, within structs too; where there are any, all is read, so that a field more shows in the type.
        unexpected = "infer" if self.has_structs else "ignore"
        parsing = pa_json.ParseOptions(explicit_schema=self.fast_schema, newlines_in_values=False, unexpected_field_behavior=unexpected)
        try:
            table = pa_json.read_json(pa.BufferReader(block.data), read_options=options, parse_options=parsing)
        except pa.ArrowInvalid:
            return None
        table = table.select(self.fast_schema.names)
        if table.num_rows != len(starts) or table.schema.types != self.fast_schema.types or any(_is_doubtful(table.column(name)) for name in self.floats):
            return None
        return table.combine_chunks().to_batches()[0]

    def _slow(self, block: LineBlock, starts: np.ndarray, ends: np.ndarray) -> RawRows:
        """Line by line, as json reads it."""
        values: list[list[Any]] = [[] for _ in self.uses]
        faults: dict[int, Fault] = {}
        lines: list[int] = []
        for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            line = block.data[start:end]
            if not line.strip(b" \t\r\n"):
                continue
            found = _parse(line)
            if isinstance(found, Fault):
                faults[len(lines)] = found
                found = {}
            for held, (name, kind) in zip(values, self.uses, strict=True):
                try:
                    held.append(self._value(found.get(name), name, kind))
                except (Mistyped, Uncastable, UnicodeEncodeError) as error:
                    held.append(None)
                    faults.setdefault(len(lines), Fault(*_why(error, name)))
            lines.append(number)
        return self._raw(values, faults, self._first_bytes(block, starts[lines] if lines else starts[:0]))

    def _value(self, value: Any, name: str, kind: pa.DataType) -> Any:
        """The value as its use has it. Mistyped, Uncastable, UnicodeEncodeError."""
        if not fits(value, kind):
            as_text = self.schema.json_ids_as_text and name == self.schema.id_column and id_type(type_of([value])) == kind
            if not as_text and self.schema.on_schema_drift == "fail":
                raise Mistyped(self._mistyped(value, name, kind))
            value = cast(value, kind) if as_text or self.schema.on_schema_drift == "cast" else None
        _check_text(value)
        return stored(value, kind)

    def _mistyped(self, value: Any, name: str, kind: pa.DataType) -> str:
        found = f"{_seen(value)} {_shown(value)} does not fit {kind} without loss"
        as_json = "corpus.on_schema_drift: cast, which takes it as JSON writes it (in a new dataset)"
        if pa.types.is_string(kind):
            return f"{found}: fix the line, or set {as_json}"
        wider = _wider(value, kind)
        if wider is None:
            return f"{found}: fix the line, or set corpus.types: {{{name}: string}} and {as_json}"
        return f"{found}: fix the line, or {declaration(name, wider)}"

    def _raw(self, values: list[list[Any]], faults: dict[int, Fault], first_byte: np.ndarray) -> RawRows:
        arrays = [pa.array(held, kind) for held, (_, kind) in zip(values, self.uses, strict=True)]
        ids = arrays.pop(0) if self.schema.id_column is not None else None
        texts, kept = arrays[: len(self.schema.text_columns)], arrays[len(self.schema.text_columns) :]
        return RawRows(len(first_byte), ids, tuple(texts), tuple(kept), None, first_byte, faults)


def _is_doubtful(column: pa.ChunkedArray) -> bool:
    """Whether a float may have been a long integer, or a number that no float64 holds: those Arrow rounds in silence. Nested ones are not looked into."""
    if not pa.types.is_floating(column.type):
        return bool(column.null_count < len(column))
    largest = pc.max(pc.fill_null(pc.abs(column), 0.0), skip_nulls=True).as_py()
    return largest is not None and largest >= EXACT_IN_FLOAT64


def _holds(kind: pa.DataType, is_wanted: Callable[[pa.DataType], bool]) -> bool:
    """Whether the type, or one within it, is such a one."""
    inner = [kind.value_type] if pa.types.is_list(kind) else [field.type for field in kind] if pa.types.is_struct(kind) else []
    return is_wanted(kind) or any(_holds(each, is_wanted) for each in inner)


def _wider(value: Any, kind: pa.DataType) -> str | None:
    """A type to declare that would hold this value and the others, too; None where only texts would."""
    if pa.types.is_integer(kind) and isinstance(value, int | float) and not isinstance(value, bool):
        return "float64" if isinstance(value, float) else "int64"
    return None


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def _seen(value: Any) -> pa.DataType:
    """A value's type for a message: as it came, not as it would be stored."""
    try:
        return pa.infer_type([value])
    except (pa.ArrowException, OverflowError):
        return type_of([value])


def _uses(schema: RowSchema) -> list[tuple[str, pa.DataType]]:
    """What each column is read as: the id, the texts, the kept columns."""
    ids = [] if schema.id_column is None else [(schema.id_column, schema.id_type)]
    return [*ids, *((name, pa.string()) for name in schema.text_columns), *((source, kind) for source, _, kind in schema.kept)]


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    try:
        pa.Array.from_buffers(pa.large_string(), 1, [None, offsets, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _parse(line: bytes) -> dict[str, Any] | Fault:
    try:
        found = parse(line.decode())
    except UnicodeDecodeError as error:
        return Fault("invalid_utf8", str(error))
    except (ValueError, RecursionError) as error:
        return Fault("unparsable_line", str(error))
    return found if isinstance(found, dict) else Fault("unparsable_line", f"expected an object, got {type_of([found])}")


def _check_text(value: Any) -> None:
    """A lone surrogate, which JSON can write as \\ud800, has no UTF-8: UnicodeEncodeError."""
    if isinstance(value, str):
        if not value.isascii():
            value.encode()
    elif isinstance(value, list):
        for item in value:
            _check_text(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_text(item)


def _why(error: Exception, name: str) -> tuple[str, str]:
    reasons = {UnicodeEncodeError: "invalid_utf8", Mistyped: "column_type"}
    return reasons.get(type(error), "uncastable"), f"column {name!r}: {error}"


class JsonLines(LineFormat):
    name = "jsonl"
    suffixes: tuple[str, ...] = (".jsonl", ".ndjson")
    infers_types = True

    def sample(self, blocks: list[LineBlock], path: str, wanted: Wanted) -> LinesSample:
        seen: dict[str, list[Any]] = {}
        size = rows = text_bytes = kept_bytes = 0
        for line in sampled_lines(blocks):
            size += len(line) + 1
            try:
                found = parse(line)
            except (ValueError, RecursionError):  # the reader's to refuse
                continue
            if isinstance(found, dict):
                rows += 1
                text_bytes += sum(len(str(found.get(column) or "")) for column in wanted.texts)
                kept_bytes += sum(len(str(found.get(column) or "")) for column in wanted.kept)
                for name, value in found.items():
                    seen.setdefault(name, []).append(value)
        mixed = {name: " and ".join(kinds) for name, values in seen.items() if len(kinds := kinds_seen(values)) > 1}
        return LinesSample({name: type_of(values) for name, values in seen.items()}, mixed, ended(blocks), size, rows, text_bytes, kept_bytes)

    def read_blocks(
        self, blocks: Iterable[LineBlock | LongLine], schema: RowSchema, path: str, *, numbered: bool, max_line_bytes: int
    ) -> Iterator[RawRows | RefusedRange]:
        return read_jsonl(blocks, schema, path, numbered=numbered)
