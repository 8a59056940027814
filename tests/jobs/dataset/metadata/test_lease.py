"""The lease: one holder at a time, a silent one is waited for and taken over, and it learns of that."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from embermill.jobs.dataset.metadata.commits import CommitLog, last_token
from embermill.jobs.dataset.metadata.lease import LEASE, Contender, Lease, Waiting, find_holder, hold_lease, newest_token
from embermill.jobs.dataset.metadata.liveness import is_running, this_process
from embermill.jobs.errors import AnotherRun
from embermill.jobs.storage import FileInfo, Folder, LocalFolder, open_folder  # type: ignore[attr-defined]
from tests.jobs.fakes import receipt

ELSEWHERE = {"host": "elsewhere", "pid": 7, "scope": "another boot", "started": "1"}


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return open_folder(str(tmp_path / "out") if request.param == "disk" else request.getfixturevalue("s3_folder_url"))


def claim(folder: Folder, token: int, process: dict[str, Any], lease_s: float = 60) -> None:
    about = {"run": "x", "purpose": "run", "lease_s": lease_s, "time": "2026-01-01T12:00:00+00:00"}
    folder.create(f"{LEASE}/{token:09d}.json", json.dumps(about | process).encode())


def renew(folder: Folder, token: int, beat: int) -> None:
    folder.replace(f"{LEASE}/{token:09d}.renewed.json", json.dumps({"beat": beat, "time": "2026-01-01T12:00:30+00:00"}).encode())


def gained(found: Lease | Waiting) -> Lease:
    assert isinstance(found, Lease)
    return found


def test_the_first_one_holds_it_and_the_next_after_it_is_released(folder: Folder) -> None:
    first = gained(Contender(folder, 60, "run").attempt(0))
    assert (first.token, first.took_over) == (1, False)
    first.release()
    second = gained(Contender(folder, 60, "run").attempt(0))
    assert (second.token, second.took_over) == (2, False)


def test_a_holder_on_this_machine_that_runs_is_named(folder: Folder) -> None:
    words = r"`embermill repair`, process \d+ on .*lasts until 20"
    with hold_lease(folder, purpose="repair"), pytest.raises(AnotherRun, match=words) as refused, hold_lease(folder):
        pass
    assert refused.value.exit_code == 4
    with hold_lease(folder) as lease:
        assert (lease.token, lease.took_over) == (2, False)


def test_a_holder_on_this_machine_that_is_gone_frees_it_at_once(folder: Folder) -> None:
    code = "import json; from embermill.jobs.dataset.metadata.liveness import this_process; print(json.dumps(this_process()))"
    gone = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    claim(folder, 1, gone)
    lease = gained(Contender(folder, 60, "run").attempt(0))
    assert (lease.token, lease.took_over) == (2, True)


def test_a_holder_elsewhere_that_renews_is_named(folder: Folder) -> None:
    claim(folder, 1, ELSEWHERE)
    renew(folder, 1, beat=1)
    contender = Contender(folder, 60, "run")
    found = contender.attempt(100.0)
    assert isinstance(found, Waiting) and found.left_s == 60 and "process 7 on elsewhere" in found.holder
    renew(folder, 1, beat=2)
    with pytest.raises(AnotherRun, match=r"process 7 on elsewhere.*lasts until 2026-01-01T12:01:30\+00:00"):
        contender.attempt(110.0)


def test_a_holder_elsewhere_that_stays_silent_is_taken_over_when_its_lease_ends(folder: Folder) -> None:
    claim(folder, 1, ELSEWHERE, lease_s=30)
    contender = Contender(folder, 60, "run")
    holder = "`embermill run`, process 7 on elsewhere, since 2026-01-01T12:00:00+00:00"
    assert [contender.attempt(5.0), contender.attempt(34.0)] == [Waiting(holder, 30.0), Waiting(holder, 1.0)]
    lease = gained(contender.attempt(35.0))
    assert (lease.token, lease.took_over) == (2, True)


def test_who_was_faster_is_waited_for_anew(folder: Folder) -> None:
    claim(folder, 1, ELSEWHERE, lease_s=30)
    contender = Contender(folder, 60, "run")
    contender.attempt(0.0)
    claim(folder, 2, ELSEWHERE, lease_s=30)
    assert isinstance(contender.attempt(30.0), Waiting) and isinstance(contender.attempt(59.0), Waiting)
    assert gained(contender.attempt(60.0)).token == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"lease_s": "long"}', b'{"lease_s": 1e99, "pid": "x", "time": 5}', b"\xff"])
def test_a_damaged_claim_is_a_claim_of_somebody_unknown(tmp_path: Path, content: bytes) -> None:
    folder = open_folder(str(tmp_path))
    folder.create(f"{LEASE}/000000001.json", content)
    contender = Contender(folder, 60, "run")
    assert isinstance(contender.attempt(0.0), Waiting) and gained(contender.attempt(3601.0)).token == 2


def test_a_holder_that_was_taken_over_learns_of_it(folder: Folder) -> None:
    claim(folder, 1, ELSEWHERE)
    held = Lease(folder, 1, ELSEWHERE, took_over=False)
    held.require_held()
    claim(folder, 2, this_process())
    held.require_not_lost()
    held.renew()
    for look in (held.require_not_lost, held.require_held):
        with pytest.raises(AnotherRun, match=r"process \d+ on .* has taken over this dataset") as stopped:
            look()
        assert stopped.value.exit_code == 4


def test_claims_that_gc_has_removed_while_a_process_was_stopped_for_a_day(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    held = gained(Contender(folder, 60, "run").attempt(0))
    for token in (2, 3, 4):
        claim(folder, token, ELSEWHERE)
    late = Contender(folder, 60, "run")
    for token in (1, 2):
        folder.remove(f"{LEASE}/{token:09d}.json")
    with pytest.raises(AnotherRun, match="process 7 on elsewhere"):
        held.require_held()
    tokens = iter([1, 4, 4])  # it has looked before any of this, and claims what is free again
    monkeypatch.setattr("embermill.jobs.dataset.metadata.lease.newest_token", lambda folder: next(tokens))
    assert isinstance(late.attempt(0.0), Waiting)


def test_a_listing_that_lags_behind_gives_nothing_away(tmp_path: Path) -> None:
    class Lagging(LocalFolder):
        def list(self, prefix: str = "") -> Iterator[tuple[str, FileInfo]]:
            return iter(())

    folder = Lagging(str(tmp_path))
    for token in (1, 2, 3):
        claim(folder, token, ELSEWHERE)
    assert newest_token(folder) == 3
    assert isinstance(Contender(folder, 60, "run").attempt(0.0), Waiting)


def test_of_many_at_once_one_holds_it(folder: Folder) -> None:
    held, refused, begin, end = list[int](), list[AnotherRun](), threading.Barrier(8), threading.Barrier(8)

    def contend() -> None:
        begin.wait()
        try:
            with hold_lease(folder) as lease:
                held.append(lease.token)
                end.wait()
        except AnotherRun as error:
            refused.append(error)
            end.wait()

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == [1] and len(refused) == 7


def test_the_wait_is_shown_and_renewals_are_seen(tmp_path: Path) -> None:
    folder, said = open_folder(str(tmp_path)), list[str]()
    claim(folder, 1, ELSEWHERE, lease_s=0.2)
    with hold_lease(folder, lease_s=0.3, show=said.append) as lease:
        assert lease.token == 2 and len(said) == 1 and "process 7 on elsewhere" in said[0] and "takes over" in said[0]
        name = f"{LEASE}/000000002.renewed.json"
        for beat in (1, 2):  # renewed six times in the time of a lease
            while not folder.exists(name) or json.loads(folder.read(name))["beat"] < beat:
                pass
        assert is_running(json.loads(folder.read(name)))


def test_a_silent_holder_is_fenced_by_a_later_one_where_the_one_between_was_not_able_to(tmp_path: Path) -> None:
    """Token 2 took over and died before it ended the log of token 1, and released the lease: token 3 takes over from nobody. The simulator's seed 207."""
    folder = open_folder(str(tmp_path))
    claim(folder, 1, ELSEWHERE, lease_s=0.01)
    silent = CommitLog(folder, token=1)
    silent.append([receipt(0)])
    with hold_lease(folder) as second:
        assert second.took_over
    with hold_lease(folder) as third:
        assert (third.token, third.took_over) == (3, False)
        third.fence(log := CommitLog(folder, third.token))
    assert log.newest_token == 3
    with pytest.raises(AnotherRun, match="which has taken over this dataset"):
        silent.append([receipt(1)])


@pytest.mark.parametrize("committed_by", [2, 3])
def test_nobody_is_fenced_where_each_has_released_the_lease_or_a_later_commit_stands(tmp_path: Path, committed_by: int) -> None:
    folder = open_folder(str(tmp_path))
    claim(folder, 1, ELSEWHERE, lease_s=0.01)
    for token in (2, 3):
        with hold_lease(folder) as lease:
            if token == committed_by:
                CommitLog(folder, token).append([receipt(0)])
    with hold_lease(folder) as lease:
        lease.fence(CommitLog(folder, lease.token))
    assert last_token(folder) == committed_by, "no commit without receipts was added"


def test_claims_that_were_removed_do_not_begin_anew(tmp_path: Path) -> None:
    folder = open_folder(str(tmp_path))
    CommitLog(folder, token=5).fence()
    with hold_lease(folder) as lease:
        assert (lease.token, lease.took_over) == (6, True)
        CommitLog(folder, lease.token).fence()


def test_who_only_looks_is_told_of_the_holder(folder: Folder) -> None:
    assert find_holder(folder) is None
    with hold_lease(folder) as lease:
        found = find_holder(folder)
        assert found is not None and found.is_running and f"process {this_process()['pid']} on {this_process()['host']}" in found.who
    assert find_holder(folder) is None, "released"
    claim(folder, lease.token + 1, ELSEWHERE)
    found = find_holder(folder)
    assert found is not None and not found.is_running and "on elsewhere" in found.who and found.until == "2026-01-01T12:01:00+00:00"
    renew(folder, lease.token + 1, 1)
    assert (found := find_holder(folder)) is not None and found.until == "2026-01-01T12:01:30+00:00"
    claim(folder, lease.token + 2, this_process() | {"started": "1"})
    assert find_holder(folder) is None, "its process on this host is gone"
