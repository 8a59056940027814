"""The named points at which a process of a job is killed: around each file that it creates, publishes, replaces or removes, and within its work.

What is shipped knows nothing of them: the storage classes and a few functions are wrapped from outside, where the environment says so.

    EMBERMILL_CRASH_AT       the point, "before create commit 1" say: its phase, what is done, to which file, for the which time in this process
    EMBERMILL_CRASH_VICTIM   who gets SIGKILL there: self, or, on a private Ray, driver, raylet or worker
    EMBERMILL_CRASH_ONCE     a file that is created by the first process that comes to the point; no other dies
                             (of each of these three several are separated by "|")
    EMBERMILL_CRASH_RECORD   a file: each point that is passed is written there, with the file's own name, one a line

before, after   nothing is done yet; all is done
linked          on a disk: the name is there, and so is the temporary; neither is synced
late            on an object store, whose proxy holds a put back: the process dies while the request is on its way, which arrives later
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from embermill.jobs.storage import local
from embermill.jobs.storage.local import LocalFolder
from embermill.jobs.storage.object_store import ObjectFolder

FILES = (
    ("format", r"_embermill/format\.json"),
    ("probe", r"_embermill/tmp/probe-.*"),
    ("lease claim", r"_embermill/lease/\d+\.json"),
    ("lease renewal", r"_embermill/lease/\d+\.renewed\.json"),
    ("lease release", r"_embermill/lease/\d+\.released\.json"),
    ("plan segments", r"_embermill/plan/\d+/segments-.*"),
    ("plan inputs", r"_embermill/plan/\d+/inputs-.*"),
    ("plan root", r"_embermill/plan/\d+/root\.json"),
    ("copy of plan segments", r"_embermill/plan/\d+/copies/segments-.*"),
    ("copy of plan inputs", r"_embermill/plan/\d+/copies/inputs-.*"),
    ("copy of plan root", r"_embermill/plan/\d+/copies/root\.json"),
    ("claim", r"_embermill/claims/\d+\.json"),
    ("listing", r"_embermill/sync/inputs-.*"),
    ("time of the listing", r"_embermill/sync/\d+/listed\.json"),
    ("format of a version", r"_embermill/sync/\d+/format\.json"),
    ("what was seen", r"_embermill/seen\.json"),
    ("scan", r"_embermill/sync/\d+/scan/.*"),
    ("difference", r"_embermill/sync/\d+/difference/.*"),
    ("rows of a version", r"_embermill/sync/\d+/rows-.*"),
    ("writes of a version", r"_embermill/sync/\d+/writes\.json"),
    ("plan of a version", r"_embermill/sync/\d+/plan/.*"),
    ("commit of a version", r"_embermill/sync/\d+/commits/.*"),
    ("upserts", r"changes/\d+/upserts/.*"),
    ("deletes", r"changes/\d+/deletes/.*"),
    ("keys", r"_embermill/keys/.*"),
    ("copy of a version", r"_embermill/versions/copies/.*"),
    ("version table", r"_embermill/versions/.*\.pq"),
    ("version root", r"_embermill/versions/\d+\.json"),
    ("quarantine file", r"quarantine/.*"),
    ("shard", r"data/.*"),
    ("commit", r"_embermill/commits/.*"),
    ("record of a run", r"_embermill/runs/.*"),
    ("heartbeat", r"_embermill/heartbeat\.json"),
    ("manifest table", r"_embermill/manifests/\d+\.(?:parquet|pq)"),
    ("manifest root", r"_embermill/manifests/\d+\.json"),
    ("mark of a version", r"(?:changes|bases)/\d+/_SUCCESS"),
    ("base", r"bases/\d+/.*"),
    ("retired version", r"_embermill/versions/\d+\.retired\.json"),
    ("dataset card", r"README\.md"),
    ("file set aside", r"_embermill/set_aside/.*"),
    ("leftover", r"_embermill/tmp/.*"),
)
OPERATIONS = {"create": 0, "publish": 1, "replace": 0, "restore": 1, "remove": 0}  # and which argument is the name
DRIVER = (  # functions whose end is a point
    ("embermill.jobs.run", "await_first", "the first worker is ready"),
    ("embermill.jobs.run", "make_plan", "the plan is made"),
    ("embermill.jobs.run", "reconcile", "the commits are what is true"),
    ("embermill.jobs.driver.stage", "drive", "all is embedded"),
    ("embermill.jobs.run", "require_same_inputs", "the inputs are compared"),
)
WORKER = (
    ("embermill.jobs.worker.worker", "Worker.start", "a worker has loaded its engine"),
    ("embermill.jobs.shard.writer", "ShardWriter.__init__", "a shard is begun"),
    ("embermill.jobs.shard.writer", "ShardWriter.write", "rows are written"),
    ("embermill.jobs.shard.writer", "ShardWriter.finish", "a receipt is made and not sent"),
)
LATE_S = 0.15  # after a put began the process dies
_inside = threading.local()


def kind_of(name: str) -> str:
    return next((kind for kind, pattern in FILES if re.fullmatch(pattern, name)), "other file")


class Points:
    """Those that one process passes. come(point, name): is told of each, by whatever thread comes there."""

    def __init__(self, come: Callable[[str, str], None]) -> None:
        self._come, self._passed, self._lock = come, Counter[str](), threading.Lock()

    def __call__(self, what: str, name: str = "") -> None:
        with self._lock:
            self._passed[what] += 1
            number = self._passed[what]
        self._come(f"{what} {number}", name)


def install(points: Points) -> None:
    """Wrap what is shipped, in this process."""
    for storage in (LocalFolder, ObjectFolder):
        for operation, place in OPERATIONS.items():
            setattr(storage, operation, _around(getattr(storage, operation), operation, place, points, late=storage is ObjectFolder))
    local._link = _linking(local._link, points)  # type: ignore[attr-defined]
    for module, path, what in DRIVER + WORKER:
        *owner, attribute = path.split(".")
        holder = importlib.import_module(module)
        for part in owner:
            holder = getattr(holder, part)
        setattr(holder, attribute, _afterwards(getattr(holder, attribute), what, points))


def _around(operate: Callable[..., Any], operation: str, place: int, points: Points, *, late: bool) -> Callable[..., Any]:
    @wraps(operate)
    def wrapped(folder: Any, *arguments: Any) -> Any:
        if getattr(_inside, "what", ""):  # `create` publishes
            return operate(folder, *arguments)
        name = arguments[place]
        what = f"{operation} {kind_of(name)}"
        points(f"before {what}", name)
        if late and operation != "remove":
            points(f"late {what}", name)
        _inside.what = what
        try:
            answer = operate(folder, *arguments)
        finally:
            _inside.what = ""
        points(f"after {what}", name)
        return answer

    return wrapped


def _linking(link: Callable[..., None], points: Points) -> Callable[..., None]:
    def linked(source: Any, target: Any) -> None:
        link(source, target)
        points(f"linked {_inside.what}", str(target))

    return linked


def _afterwards(function: Callable[..., Any], what: str, points: Points) -> Callable[..., Any]:
    @wraps(function)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        answer = function(*arguments, **options)
        points(what)
        return answer

    return wrapped


def install_from_environment() -> Points | None:
    record = os.environ.get("EMBERMILL_CRASH_RECORD")
    told = [os.environ.get(f"EMBERMILL_CRASH_{name}", "").split("|") for name in ("AT", "VICTIM", "ONCE")]
    kills = [each for each in zip(*told, strict=True) if each[0]]

    def come(point: str, name: str) -> None:
        if record:
            with Path(record).open("a") as file:
                file.write(f"{point}\t{name}\n")
        for here, victim, once in kills:
            if point != here or not _is_first(once):
                continue
            if here.startswith("late"):
                threading.Timer(LATE_S, kill, (victim,)).start()
            else:
                kill(victim)

    if not (record or kills):
        return None
    points = Points(come)
    install(points)
    return points


def _is_first(once: str) -> bool:
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def kill(victim: str) -> None:
    """SIGKILL for this process, or, from a process of a private Ray, for another one of it; then there is time for it to take effect."""
    import psutil

    me = psutil.Process()
    family = [me, *me.parents()]
    if victim == "driver":
        found = next(each for each in family if "raylet" not in each.name() and any("embermill" in word for word in each.cmdline()[:4]))
    elif victim == "raylet":
        near = [*family, *me.children(recursive=True)]
        found = next(each for each in near if each.name().startswith("raylet"))
    elif victim == "worker":
        found = next((each for each in [me, *me.children(recursive=True)] if each.name().startswith("ray::Embedding")), me)
    else:
        found = me
    with contextlib.suppress(psutil.NoSuchProcess):
        os.kill(found.pid, signal.SIGKILL)
    if found.pid == me.pid:
        time.sleep(60)
