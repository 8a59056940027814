"""Rows as JSON, with vectors as numbers, as base64 or in hexadecimal."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from embermill.jobs.export.source import Part
from embermill.jobs.index.metadata_json import json_rows


def one_line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def metadata_of(part: Part) -> Iterator[dict[str, Any]]:
    return json_rows(part.metadata) if part.metadata.num_columns else ({} for _ in range(part.rows))


def number_lists(vectors: np.ndarray) -> Iterator[str]:
    """[N, dim] float32 -> JSON arrays. Nine digits tell each float32 from its neighbours."""
    pattern = "[" + ",".join(["%.9g"] * vectors.shape[1]) + "]"
    return (pattern % tuple(row) for row in vectors.tolist())


def joined(*members: tuple[str, str]) -> str:
    """An object of members whose values are JSON already."""
    return "{" + ",".join(f"{one_line(name)}:{value}" for name, value in members) + "}"


def base64_vectors(vectors: np.ndarray) -> list[str]:
    """Big-endian float32."""
    return [base64.b64encode(row.tobytes()).decode() for row in np.ascontiguousarray(vectors, ">f4")]


def hex_vectors(vectors: np.ndarray) -> list[str]:
    """Eight digits a number, of its big-endian float32."""
    return [row.tobytes().hex() for row in np.ascontiguousarray(vectors, ">f4")]
