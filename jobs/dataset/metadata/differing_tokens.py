"""The note that a tokenizer was found to give other ids than those that count: `_embermill/differing_tokens.json`, created once and never taken back.

From then on every worker uses the tokenizer whose ids count, and before a manifest is published the shards that the other one made are compared whole.
"""

from __future__ import annotations

import contextlib
import json
from typing import NamedTuple

from embermill.jobs.errors import MetadataDamaged
from embermill.jobs.storage import AlreadyExists, Folder

DIFFERING = "_embermill/differing_tokens.json"
TOKENIZER = "tokenizer"  # in a receipt's provenance: library and version that made the token ids


class DifferingTokens(NamedTuple):
    """tokenizer: the one that differs. exact: the one whose ids count. partition: in which it was first seen, in rows_differing of rows_compared."""

    tokenizer: str
    exact: str
    partition: int
    rows_compared: int
    rows_differing: int


def note_difference(folder: Folder, found: DifferingTokens) -> None:
    """The first one to be found stays."""
    with contextlib.suppress(AlreadyExists):
        folder.create(DIFFERING, json.dumps(found._asdict()).encode())


def read_difference(folder: Folder) -> DifferingTokens | None:
    try:
        told = json.loads(folder.read(DIFFERING))
    except FileNotFoundError:
        return None
    except ValueError:
        told = None
    names, numbers = ("tokenizer", "exact"), ("partition", "rows_compared", "rows_differing")
    if isinstance(told, dict) and all(isinstance(told.get(name), str) for name in names) and all(type(told.get(name)) is int for name in numbers):
        return DifferingTokens(*(told[name] for name in (*names, *numbers)))
    remedy = "Embed the corpus into another output.uri; or move this file away and run again, if you trust the token ids of all that is committed"
    raise MetadataDamaged(folder.root, DIFFERING, "is damaged: expected the note of a tokenizer that gave other ids", remedy)
