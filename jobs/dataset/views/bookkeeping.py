"""Files of the bookkeeping that know by themselves whether they are whole: by the checksum inside them, or by the hash in their name.

What counts is checked when it is read. This is for `verify`, which also looks at what no reader goes by any more: older manifests and plans, and what a
driver that was slower or was killed left there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from embermill.jobs import remedies
from embermill.jobs.bookkeeping.seal import broken_seal
from embermill.jobs.dataset.views.verify_report import Damage
from embermill.jobs.plan.dataset_format import FORMAT
from embermill.jobs.storage import Folder

BOOKKEEPING = "_embermill"
OF_NO_AUTHORITY = tuple(f"{BOOKKEEPING}/{name}" for name in ("heartbeat.json", "lease/", "tmp/", "set_aside/"))
NAMED_BY_CONTENT = re.compile(r".*-([0-9a-f]{32})\.(?:parquet|pq)")


def bookkeeping_damage(folder: Folder) -> Iterator[Damage]:
    for name, _ in folder.list(BOOKKEEPING):
        if name.startswith(OF_NO_AUTHORITY):
            continue
        data = folder.read(name)
        hashed = NAMED_BY_CONTENT.fullmatch(name)
        problem = broken_seal(data)
        if hashed is not None:
            problem = "" if hashlib.sha256(data).hexdigest().startswith(hashed[1]) else "its content is not what it is named by"
        if problem:
            yield Damage(name, f"is damaged: {problem}", _remedy(name))


def _remedy(name: str) -> str:
    if name == FORMAT:
        return remedies.FORMAT
    kind, _, file = name.removeprefix(f"{BOOKKEEPING}/").partition("/")
    if kind == "manifests" and file[:6].isdigit():
        return remedies.for_manifest(int(file[:6]))
    return remedies.COMMIT if kind == "commits" else remedies.PLAN
