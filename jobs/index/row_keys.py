"""The ids of a dataset as an index wants them that takes UUIDs, or whole numbers alone."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa

from embermill.jobs.corpus.uuids import NAMESPACE
from embermill.jobs.dataset.metadata.id_hash import hash_ids
from embermill.jobs.errors import UsageError

BITS = 63


def number_keys(ids: pa.Array) -> np.ndarray:
    """[N] uint64 below 2^63: a whole number that is not negative is its own key, any other id has a hash."""
    hashed = hash_ids(ids) >> np.uint64(64 - BITS)
    if not pa.types.is_integer(ids.type):
        return hashed
    values = ids.to_numpy(zero_copy_only=False)
    return np.where((values >= 0) & (values <= (1 << BITS) - 1), values.astype(np.uint64), hashed)


def require_no_collision(ids: pa.ChunkedArray, keys: np.ndarray, where: str) -> None:
    """UsageError where two ids have one key: of a thousand million rows that happens in one dataset of twenty."""
    inorder = np.sort(keys)
    if not (inorder[1:] == inorder[:-1]).any():
        return
    ordered = np.argsort(keys, kind="stable")
    first = int(np.flatnonzero(np.diff(keys[ordered]) == 0)[0])
    one, other = (ids[int(ordered[place])].as_py() for place in (first, first + 1))
    raise UsageError(f"{where}: the ids {one!r} and {other!r} have the same key of {BITS} bits: change one of them in the corpus")


def uuid_keys(ids: pa.Array) -> list[str | int]:
    """What Qdrant takes: a whole number that is not negative, or a UUID: the id itself where it is one, else the UUID (version 5) of its text."""
    if pa.types.is_integer(ids.type):
        return [value if value >= 0 else str(uuid.uuid5(NAMESPACE, str(value))) for value in ids.to_pylist()]
    return [_uuid(text) for text in ids.to_pylist()]


def _uuid(text: str) -> str:
    try:
        found = str(uuid.UUID(text))
        if found == text:  # spelled as Qdrant gives it back, so that no two ids become one
            return found
    except ValueError:
        pass
    return str(uuid.uuid5(NAMESPACE, text))
