"""The host of a job is lost, or wakes too late: another takes over once the lease has ended. tests/bench/two_hosts.py does it with a real lease and Ray."""

from __future__ import annotations

import os
import signal

import pytest

from tests.bench.two_hosts import Hosts, own_host


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Hosts:
    if own_host() is None:
        missing = "no unshare that gives a host's name of its own: needs root or user namespaces"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return Hosts(tmp_path_factory.mktemp("hosts"), lease_s=1.5)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["lost", "stopped"])
def test_another_host_takes_over_within_the_lease_and_ten_seconds(hosts: Hosts, how: signal.Signals) -> None:
    found = hosts.round(how)
    assert hosts.is_right(found), found
