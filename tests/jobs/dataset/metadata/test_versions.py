from __future__ import annotations

import json

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from embermill.jobs.dataset.metadata.claims import claim_number, read_claim
from embermill.jobs.dataset.metadata.commits import CommitLog
from embermill.jobs.dataset.metadata.manifest import publish_manifest
from embermill.jobs.dataset.metadata.retirement import VERSIONS
from embermill.jobs.dataset.metadata.versions import (
    BASE,
    UPSERTS,
    Contents,
    Version,
    VersionFile,
    abandon_version,
    commit_version,
    next_number,
    read_version,
    read_versions,
)
from embermill.jobs.errors import AnotherRun, MetadataDamaged, UsageError
from embermill.jobs.plan.files import write_plan
from embermill.jobs.storage import AlreadyExists
from tests.jobs.sample_dataset import make_plan, write_shard
from tests.jobs.stores.memory import MemoryFolder


def finished() -> MemoryFolder:
    """A dataset whose run is finished: version 1, of two shards with 7 rows each."""
    folder, plan = MemoryFolder(), make_plan(2, rows=7)
    log = CommitLog(folder)
    log.append([write_shard(folder, plan, number, rows=7) for number in range(2)])
    publish_manifest(folder, plan, log)
    return folder


FINISHED = finished().files


def dataset() -> MemoryFolder:
    return MemoryFolder(dict(FINISHED))


def upserts(number: int, file: int, rows: int = 1) -> VersionFile:
    return VersionFile(file, UPSERTS, f"changes/{number:06d}/upserts/part-{file}.parquet", rows, 10, "ab", number)


def child(parent: Version, number: int, rows: int = 1) -> Contents:
    added = upserts(number, parent.next_file, rows)
    return Contents(number, parent.number, "sync", {"rows": parent.totals["rows"] + rows}, (*parent.files, added), {"why": "a test"})


def test_the_run_makes_version_1() -> None:
    folder = dataset()
    (version,) = read_versions(folder)
    assert version == read_version(folder) == read_version(folder, 1)
    assert (version.number, version.parent, version.cause, version.totals, version.is_committed) == (1, None, "run", {"rows": 14}, True)
    assert [(file.number, file.kind, file.rows, file.version) for file in version.files] == [(0, BASE, 7, 1), (1, BASE, 7, 1)]
    assert next_number(folder) == 2 and version.next_file == 2


def test_a_version_is_what_was_committed() -> None:
    folder = dataset()
    contents = child(read_version(folder), 2)
    version = commit_version(folder, contents)
    assert read_version(folder) == read_version(folder, 2) == version == read_versions(folder)[-1]
    assert (version.number, version.parent, version.cause, version.files, version.details) == (2, 1, "sync", contents.files, contents.details)
    assert not [name for name in folder.files if name.startswith(VERSIONS) and name.endswith(".parquet")]


def test_committed_twice_it_is_the_same_version() -> None:
    folder = dataset()
    contents = child(read_version(folder), 2)
    assert commit_version(folder, contents, "2026-01-01") == commit_version(folder, contents, "2026-02-02")
    assert len(read_versions(folder)) == 2


def test_one_number_is_decided_once() -> None:
    folder = dataset()
    first = read_version(folder)
    commit_version(folder, child(first, 2))
    with pytest.raises(AnotherRun, match=r"version 2 was decided meanwhile, as a version of another run \(sync\)"):
        commit_version(folder, child(first, 2, rows=5))
    assert abandon_version(folder, 2, "too late").is_committed
    assert abandon_version(folder, 3, "the corpus changed").state == "abandoned"
    with pytest.raises(AnotherRun, match=r"version 3 was decided meanwhile, as abandoned \(the corpus changed\)"):
        commit_version(folder, child(read_version(folder), 3))
    assert commit_version(folder, child(read_version(folder), 4)).parent == 2


def test_the_parent_is_the_newest_version() -> None:
    folder = dataset()
    first = read_version(folder)
    commit_version(folder, child(first, 2))
    with pytest.raises(AnotherRun, match="was made from version 1, and 2 is the newest one now"):
        commit_version(folder, child(first, 3))
    with pytest.raises(AnotherRun, match="version 4 cannot be decided before version 3 is"):
        commit_version(folder, child(first, 4))
    with pytest.raises(ValueError, match="the next number to decide is 3"):
        abandon_version(folder, 5, "nothing")


def test_an_answer_that_was_lost_between_the_checks() -> None:
    """A slower twin creates the same version after the look and before the put."""

    class Twin(MemoryFolder):
        def create(self, name: str, data: bytes) -> None:
            if name == f"{VERSIONS}/000002.json" and name not in self.files:
                commit_version(MemoryFolder(self.files), contents, "2026-01-01")
                raise AlreadyExists(name)
            super().create(name, data)

    folder = Twin(dict(FINISHED))
    contents = child(read_version(folder), 2)
    assert commit_version(folder, contents).created == "2026-01-01"


@pytest.mark.parametrize(("number", "message"), [(0, "no version 0: expected one from 1 to 3"), (9, "no version 9"), (2, "version 2 was abandoned")])
def test_versions_that_cannot_be_read(number: int, message: str) -> None:
    folder = dataset()
    abandon_version(folder, 2, "a test")
    commit_version(folder, child(read_version(folder), 3))
    with pytest.raises(UsageError, match=message):
        read_version(folder, number)


def test_without_a_finished_run_there_is_no_version() -> None:
    folder = MemoryFolder()
    assert read_versions(folder) == ()
    with pytest.raises(UsageError, match="there is no dataset here"):
        read_version(folder)
    write_plan(folder, make_plan())
    with pytest.raises(UsageError, match="no version of this dataset yet: nothing is committed yet: finish it with `embermill run` first"):
        read_version(folder)


@pytest.mark.parametrize("which", ["000002.json", ".pq"])
@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_damage_is_found_and_named(which: str, how: str) -> None:
    folder = dataset()
    commit_version(folder, child(read_version(folder), 2))
    name = next(name for name in folder.files if name.startswith(VERSIONS) and name.endswith(which))
    if how == "gone" and which == ".pq":
        del folder.files[name]
    elif how == "flipped":
        data = bytearray(folder.files[name])
        data[len(data) // 2] ^= 1
        folder.files[name] = bytes(data)
    else:
        return  # a version without its root is none: the number is not decided
    with pytest.raises(MetadataDamaged, match=f"{name}: is "):
        read_version(folder)


def test_a_claim_is_resumed_by_the_same_and_given_up_for_another() -> None:
    folder = dataset()
    number, parent = claim_number(folder, "rollback", {"to": 1})
    assert (number, parent.number) == (2, 1) and claim_number(folder, "rollback", {"to": 1}) == (number, parent)
    assert claim_number(folder, "compact", {})[0] == 3
    assert [(version.number, version.state) for version in read_versions(folder)] == [(1, "committed"), (2, "abandoned")]
    commit_version(folder, child(read_version(folder), 3))
    assert claim_number(folder, "compact", {})[0] == 4, "of another parent it is another claim"
    assert read_claim(folder, 4) == {"number": 4, "cause": "compact", "parent": 3, "details": {}} and read_claim(folder, 5) is None


class Deciding(RuleBasedStateMachine):
    """Two makers who commit and abandon, each by what it saw last, against a model: a number keeps what was decided first."""

    @initialize()
    def begin(self) -> None:
        self.folder = dataset()
        self.seen = [read_version(self.folder)] * 2
        self.decided: dict[int, object] = {}

    @rule(who=st.sampled_from([0, 1]))
    def look(self, who: int) -> None:
        self.seen[who] = read_version(self.folder)

    @rule(who=st.sampled_from([0, 1]), rows=st.integers(1, 2), ahead=st.integers(1, 3))
    def commit(self, who: int, rows: int, ahead: int) -> None:
        number = self.seen[who].number + ahead
        contents = child(self.seen[who], number, rows)
        try:
            version = commit_version(self.folder, contents)
        except AnotherRun:
            allowed = number == next_number(self.folder) and self.seen[who].number == read_version(self.folder).number
            assert not allowed and self.decided.get(number) != contents.files
        else:
            assert self.decided.setdefault(number, contents.files) == version.files

    @rule(back=st.integers(0, 2))
    def abandon(self, back: int) -> None:
        if (number := next_number(self.folder) - back) > 1:
            found = abandon_version(self.folder, number, "by the model")
            assert self.decided.setdefault(number, ()) == found.files

    @invariant()
    def what_is_decided_stays(self) -> None:
        versions = read_versions(self.folder)
        assert {version.number: version.files for version in versions[1:]} == self.decided
        committed = [version for version in versions if version.is_committed]
        assert [version.parent for version in committed] == [None, *(version.number for version in committed[:-1])]
        assert [version.number for version in versions] == [*range(1, len(versions) + 1)]


TestDeciding = Deciding.TestCase
TestDeciding.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)


def test_the_root_is_plain_json() -> None:
    folder = dataset()
    commit_version(folder, child(read_version(folder), 2))
    root = json.loads(folder.files[f"{VERSIONS}/000002.json"])
    assert (root["number"], root["parent"], root["state"], root["cause"], root["totals"]) == (2, 1, "committed", "sync", {"rows": 15})
    assert root["files"]["rows"] == 3
