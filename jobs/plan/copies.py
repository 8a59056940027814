"""A second copy of each file of a plan, in `copies/` beside it: no corpus, commit or shard could tell what a damaged plan said.

Every file of a plan is known to be whole by itself: root.json by its checksum, the others by the hash in their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from embermill.jobs.bookkeeping.copies import complete_copy, restore_from
from embermill.jobs.bookkeeping.expected_form import require_form, text
from embermill.jobs.bookkeeping.seal import read_json
from embermill.jobs.storage import Folder

PLANS = "_embermill/plan"
COPIES = "copies"
ROOT_KEYS = frozenset(  # of a root from before there were checksums
    {"plan_format", "fingerprint", "config", "rows", "outputs", "schema", "schema_arrow", "rows_per_shard", "device_kind", "precision"}
    | {"id_stability", "totals", "segments", "inputs"}
)
KEY = "copies"  # of a root: whether there are any, which plans from before have not
_NAME = re.compile(rf"({PLANS}/\d{{6}})/(?:({COPIES})/)?(root\.json|(?:segments|inputs)-([0-9a-f]{{32}})\.(?:parquet|pq))")


def copy_of(name: str) -> str:
    """Where the copy of a plan's file is; of a copy, where the file is."""
    folder, _, file = name.rpartition("/")
    return f"{folder.removesuffix(f'/{COPIES}')}/{file}" if is_copy(name) else f"{folder}/{COPIES}/{file}"


def missing_plan_files(folder: Folder) -> list[str]:
    """Of every plan's files and their copies, those of older generations too."""
    return [name for name in _expected(folder) if not folder.exists(name)]


def is_copy(name: str) -> bool:
    return name.rpartition("/")[0].endswith(f"/{COPIES}")


def complete_copies(folder: Folder) -> None:
    """Make the copies that a driver did not come to before it was killed. For the holder of the lease."""
    for copy in missing_plan_files(folder):
        if is_copy(copy):
            complete_copy(folder, copy_of(copy), copy)


def named_by_roots(folder: Folder) -> dict[str, frozenset[str]]:
    """Folder of a plan whose root, or the root's copy, can be read -> all files that these name, and their copies."""
    named: dict[str, frozenset[str]] = {}
    for base in sorted({match[1] for name, _ in folder.list(PLANS) if (match := _NAME.fullmatch(name))} | {f"{PLANS}/000001"}):
        roots = [root for name in (f"{base}/root.json", copy_of(f"{base}/root.json")) if (root := _root(folder, name)) is not None]
        files = {f"{base}/{root[kind]['file']}" for root in roots for kind in ("segments", "inputs")}
        if roots:
            named[base] = frozenset(files | {copy_of(name) for name in files})
    return named


def restore_plan(folder: Folder) -> Iterator[str]:
    """Put each damaged or missing file back from its whole twin; their names. For the holder of the lease."""
    for name in _expected(folder):
        if restore_from(folder, name, copy_of(name)):
            yield name


def _expected(folder: Folder) -> list[str]:
    """All that are there, and those that should: the twins of a plan that has copies, and the files that its root names."""
    standing = {name for name, _ in folder.list(PLANS) if _NAME.fullmatch(name)}
    expected = set(standing)
    for base in {match[1] for name in standing if (match := _NAME.fullmatch(name))}:
        root = _root(folder, f"{base}/root.json") or _root(folder, copy_of(f"{base}/root.json"))
        if root is None or not root.get(KEY):
            continue
        named = [f"{base}/root.json", *(f"{base}/{root[kind]['file']}" for kind in ("segments", "inputs"))]
        expected |= {*named, *map(copy_of, named)}
    return sorted(expected)


def _root(folder: Folder, name: str) -> dict[str, dict[str, str]] | None:
    try:
        root = read_json(folder.read(name), ROOT_KEYS)
        require_form(root, {"segments": {"file": text}, "inputs": {"file": text}})
        return root
    except (FileNotFoundError, ValueError, RecursionError):
        return None
