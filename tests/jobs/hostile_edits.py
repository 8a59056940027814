"""Edits that keep a file's form and change what it says: one value of a document, a column or a cell of a table."""

from __future__ import annotations

import copy
import io
import json
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

WEIRD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 31, 255, 1 << 31, (1 << 31) - 1, 1 << 40, (1 << 63) - 1, 1 << 63, -(1 << 63), 10**400, 0.5, -0.0, 1e-300, 1e308,
    float("nan"), float("inf"), float("-inf"), "", " ", "a", "0", "-1", "1e999", "\0", "\ud800", "é" * 40, "x" * 5000, "../..", "/dev/zero", "/", "a/../../b",
    "data/part-000000000-000-00000000.parquet", "data/../../x.parquet", "{", "[", [], {}, [[]], [None], [0] * 300, {"": None}, {"a": {"b": {}}},
]  # fmt: skip


def edit_document(draw: random.Random, data: bytes) -> bytes:
    """JSON or YAML, edited in one to three places; `data` itself where it is neither."""
    try:
        document = yaml.safe_load(data) if not data.lstrip().startswith(b"{") else json.loads(data)
    except (ValueError, yaml.YAMLError):
        return data
    for _ in range(draw.choice((1, 1, 2, 3))):
        document = _edited(draw, document)
    try:
        return json.dumps(document, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return data


def _edited(draw: random.Random, document: Any) -> Any:
    """A walk to some value, which becomes another one, is left out or moves."""
    if not isinstance(document, dict | list) or not document or draw.random() < 0.05:
        return _other_value(draw, document)
    here, place = document, _any_place(draw, document)
    while isinstance(here[place], dict | list) and here[place] and draw.random() < 0.85:
        here = here[place]
        place = _any_place(draw, here)
    match draw.randrange(6):
        case 0:
            del here[place]
        case 1 if isinstance(here, dict):
            here[draw.choice((f"{place}x", "", str(place).upper(), "a"))] = here.pop(place)
        case 2 if isinstance(here, list):
            here.insert(draw.randint(0, len(here)), copy.deepcopy(here[place]))
        case 3:
            here[place] = copy.deepcopy(_somewhere(draw, document))
        case 4:
            here[place] = [here[place]] if draw.random() < 0.5 else {"a": here[place]}
        case _:
            here[place] = _other_value(draw, here[place])
    return document


def _any_place(draw: random.Random, here: Any) -> Any:
    return draw.choice(list(here)) if isinstance(here, dict) else draw.randrange(len(here))


def _somewhere(draw: random.Random, document: Any) -> Any:
    here = document
    while isinstance(here, dict | list) and here and draw.random() < 0.7:
        here = here[_any_place(draw, here)]
    return here


def _other_value(draw: random.Random, value: Any) -> Any:
    if draw.random() < 0.5:
        if isinstance(value, bool):
            return not value
        if isinstance(value, int | float):
            return draw.choice((value + 1, value - 1, -value, value * 1000, value * 1_000_003, str(value), value // 2))
        if isinstance(value, str):
            return draw.choice((value[1:], value[:-1], value * 2, value.upper(), value + "/../x", value.replace("0", "9"), [value]))
    result = copy.deepcopy(draw.choice(WEIRD))
    for _ in range(draw.choice((0, 0, 0, 0, 3, 200))):
        result = [result]
    return result


def edit_lines(draw: random.Random, data: bytes) -> bytes:
    """One line of JSONL."""
    lines = data.split(b"\n")
    place = draw.randrange(len(lines))
    lines[place] = edit_document(draw, lines[place])
    return b"\n".join(lines)


def edit_table(draw: random.Random, data: bytes) -> bytes:
    """A table of the bookkeeping: another value in a cell, a row or a column more or less, another type. Its keys and values stay."""
    try:
        with pq.ParquetFile(io.BytesIO(data)) as file:
            table, keys = file.read(), dict(file.metadata.metadata or {})
    except (pa.ArrowException, OSError, ValueError):
        return data
    for _ in range(draw.choice((1, 1, 2, 3))):
        table = _edited_table(draw, table)
    sink = io.BytesIO()
    keys.pop(b"ARROW:schema", None)
    try:
        pq.write_table(table.replace_schema_metadata(keys), sink, row_group_size=draw.choice((1 << 20, 1 << 20, 2)))
    except (pa.ArrowException, ValueError):
        return data
    return sink.getvalue()


def _edited_table(draw: random.Random, table: pa.Table) -> pa.Table:
    place = draw.randrange(max(1, table.num_columns))
    match draw.randrange(8):
        case 0:
            return table.slice(draw.randint(0, table.num_rows), draw.randint(0, table.num_rows))
        case 1:
            return pa.concat_tables([table, table.slice(draw.randint(0, table.num_rows), 1)])
        case 2 if table.num_columns:
            return table.remove_column(place)
        case 3 if table.num_columns:
            return table.add_column(draw.randint(0, table.num_columns), draw.choice((table.schema.names[place], "another")), table.column(place))
        case _ if table.num_columns and table.num_rows:
            return _with_another_cell(draw, table, place)
    return table


def _with_another_cell(draw: random.Random, table: pa.Table, place: int) -> pa.Table:
    field = table.schema.field(place)
    values = table.column(place).to_pylist()
    row = draw.randrange(len(values))
    values[row] = _edited(draw, [values[row]]) if draw.random() < 0.8 else draw.choice(values)
    if isinstance(values[row], list) and values[row] and not pa.types.is_list(field.type) and not pa.types.is_map(field.type):
        values[row] = values[row][0]
    try:
        column = pa.array(values, field.type if draw.random() < 0.9 else None)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, UnicodeEncodeError):
        return table
    return table.set_column(place, field.with_type(column.type).with_nullable(True), column)
