"""What follows the decision about a version: copies, card and _SUCCESS, also where its maker was killed right after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from embermill.jobs.dataset.metadata import versions as versions_module
from embermill.jobs.dataset.metadata.versions import read_version
from embermill.jobs.maintenance.garbage import collect
from embermill.jobs.maintenance.repair import repair
from embermill.jobs.storage import open_folder
from embermill.jobs.sync.job import sync
from embermill.jobs.versions.compact import compact
from embermill.jobs.versions.erase import erase
from embermill.jobs.versions.making import make_version
from embermill.jobs.versions.rollback import rollback
from tests.jobs.crashes.scenarios import collect_in_two_days
from tests.jobs.sync.conftest import corpus, embedded, inline  # noqa: F401
from tests.jobs.sync.corpus import Corpus, configure, row

COPIES = "_embermill/versions/copies"


class Killed(BaseException):
    pass


@pytest.fixture
def output(tmp_path: Path, embedded: Corpus) -> Path:  # noqa: F811
    embedded.write("a.jsonl", [row("a0", "another text"), *embedded.files["a.jsonl"][1:]])
    return tmp_path / "out"


def kill_after_the_decision(monkeypatch: pytest.MonkeyPatch, make: Callable[[], object]) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(versions_module, "copy_decision", killed)
        with pytest.raises(Killed):
            make()


def incomplete(output: Path, mark: str, number: int) -> list[str]:
    """What is missing of a version."""
    version = f"{number:06d}"
    missing = [] if (output / mark).exists() else [mark]
    names = {path.name for path in (output / COPIES).glob("*")}
    wanted = {path.name for path in (output / "_embermill/versions").glob(f"{version}*") if "retired" not in path.name}
    wanted |= {Path(str(each["file"])).name for each in [read_version(open_folder(str(output)), number).details.get("inputs")] if each}
    missing += sorted(wanted - names)
    if f"version {number}" not in (output / "README.md").read_text():
        missing.append("README.md")
    return missing


def make_ids(output: Path) -> str:
    (output.parent / "ids").write_text("a1\n")
    return str(output.parent / "ids")


MAKERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "sync": ("changes", lambda output: sync(configure(output.parent))),
    "rollback": ("changes", lambda output: make_version(str(output), "rollback", lambda folder, plan: rollback(folder, plan, 1))),
    "compact": ("bases", lambda output: make_version(str(output), "compact", compact)),
    "erase": ("bases", lambda output: erase(str(output), make_ids(output))),
}
STARTS: dict[str, Callable[[Path], object]] = {
    "sync": lambda output: sync(configure(output.parent)),
    "compact": lambda output: make_version(str(output), "nothing", lambda folder, plan: None),
    "gc": lambda output: collect(str(output)),
    "repair": lambda output: repair(str(output)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_each_command_leaves_a_complete_version(output: Path, name: str) -> None:
    number = 2
    if name != "sync":
        MAKERS["sync"][1](output)
        number = 3
    top, make = MAKERS[name]
    make(output)
    assert incomplete(output, f"{top}/{number:06d}/_SUCCESS", number) == [] and (output / f"{top}/{number:06d}/_SUCCESS").read_bytes() == b""
    collect_in_two_days(str(output))
    assert (output / f"{top}/{number:06d}/_SUCCESS").exists()


@pytest.mark.parametrize("start", ["sync", "gc", *(pytest.param(name, marks=pytest.mark.long) for name in ("compact", "repair"))])
def test_what_a_killed_maker_left_is_completed_by_the_next_start(output: Path, start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_after_the_decision(monkeypatch, lambda: sync(configure(output.parent)))
    mark = "changes/000002/_SUCCESS"
    assert read_version(open_folder(str(output))).number == 2 and len(incomplete(output, mark, 2)) == 5
    STARTS[start](output)
    assert incomplete(output, mark, 2) == [] and read_version(open_folder(str(output))).number == 2


def test_where_nothing_may_be_written_a_sync_with_nothing_to_do_goes_without(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_after_the_decision(monkeypatch, lambda: sync(configure(output.parent)))

    def refuse(*_: object, **__: object) -> object:
        raise PermissionError("read-only")

    monkeypatch.setattr("embermill.jobs.dataset.metadata.completing.hold_lease", refuse)
    assert sync(configure(output.parent)).action == "nothing" and not (output / "changes/000002/_SUCCESS").exists()


def test_marks_of_collected_versions_go(output: Path) -> None:
    for name in ("sync", "compact"):
        MAKERS[name][1](output)
    assert (output / "changes/000002/_SUCCESS").exists()


    collect(str(output), time.time() + 3 * 24 * 3600, keep_versions=1)
    assert not (output / "changes").exists() or not [*(output / "changes").rglob("*.*")]
    assert not (output / "changes/000002/_SUCCESS").exists() and (output / "bases/000003/_SUCCESS").exists()
