"""Files of the bookkeeping that know by themselves whether they are whole: by the checksum inside them, or by the hash in their name.

What counts is checked when it is read. This is for `verify`, which also looks at what no reader goes by any more: older manifests and plans, what syncs
were made from, and what a driver that was slower or was killed left there. What later versions quarantined is of this kind, too: no receipt speaks of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from embermill.jobs import remedies
from embermill.jobs.bookkeeping.self_check import problem_of
from embermill.jobs.dataset.views.verify_report import Damage
from embermill.jobs.plan.dataset_format import FORMAT
from embermill.jobs.shard.footer import QUARANTINE
from embermill.jobs.storage import Folder

BOOKKEEPING = "_embermill"
OF_NO_AUTHORITY = tuple(f"{BOOKKEEPING}/{name}" for name in ("heartbeat.json", "lease/", "runs/", "tmp/", "set_aside/"))
OF_A_MAKER = re.compile(rf"{BOOKKEEPING}/(?:sync/(\d{{6,}})/.*|claims/(\d{{6,}})\.json)")  # of a version, while it is made
OF_LATER_QUARANTINE = re.compile(rf"{QUARANTINE}/(\d{{6,}})/.*\.pq")
DECISIONS = (f"{BOOKKEEPING}/versions/", f"{BOOKKEEPING}/sync/inputs-")


def bookkeeping_damage(folder: Folder) -> Iterator[Damage]:
    for name, _ in folder.list(BOOKKEEPING):
        if not name.startswith(OF_NO_AUTHORITY):
            yield from _damage(folder, name)
    for name, _ in folder.list(QUARANTINE):
        if OF_LATER_QUARANTINE.fullmatch(name):
            yield from _damage(folder, name)


def _damage(folder: Folder, name: str) -> Iterator[Damage]:
    try:
        problem = problem_of(name, folder.read(name))
    except FileNotFoundError:  # removed since it was listed
        return
    if problem:
        yield Damage(name, f"is damaged: {problem}", _remedy(name))


def _remedy(name: str) -> str:
    if name == FORMAT:
        return remedies.FORMAT
    if OF_LATER_QUARANTINE.fullmatch(name):
        return remedies.LATER_QUARANTINE
    if OF_A_MAKER.fullmatch(name):
        return remedies.OF_A_MAKER
    if name.startswith(DECISIONS):
        return remedies.VERSION
    kind, _, file = name.removeprefix(f"{BOOKKEEPING}/").partition("/")
    if kind == "manifests" and file[:6].isdigit():
        return remedies.for_manifest(int(file[:6]))
    return remedies.COMMIT if kind == "commits" else remedies.PLAN
