"""A pytest plugin: what each file of tests costs in CPU time, with the processes that it starts and waits for, and a line for each that costs too much.

`make test` must stay under five minutes on two cores. Wall time depends on what else the machine is doing, CPU time hardly does.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator, Iterable

import pytest

COSTLY_S = 15.0


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "name every file of tests that takes more CPU seconds than this; such a file should become cheaper, or be one of LONG in tests/conftest.py"
    parser.addoption("--cpu-seconds", type=float, default=COSTLY_S, metavar="S", help=f"{told} (default: {COSTLY_S})")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CpuSeconds(config.getoption("--cpu-seconds")))


def spent() -> float:
    """CPU seconds, user and system, of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def per_file(reports: Iterable[object]) -> dict[str, float]:
    """File of tests -> CPU seconds."""
    costs: dict[str, float] = defaultdict(float)
    for report in reports:
        if isinstance(report, pytest.TestReport):
            costs[report.nodeid.partition("::")[0]] += sum(value for name, value in report.user_properties if name == "cpu_s" and isinstance(value, float))
    return costs


class CpuSeconds:
    def __init__(self, costly_s: float) -> None:
        self.costly_s = costly_s
        self._last_s = 0.0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self._last_s = spent()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Each report (of setup, call and teardown) says what was spent since the one before; properties reach the process that prints the summary."""
        report = yield
        now = spent()
        report.user_properties = [*report.user_properties, ("cpu_s", now - self._last_s)]
        self._last_s = now
        return report

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        costs = per_file(report for reports in terminalreporter.stats.values() for report in reports)
        costly = sorted(((file, cost) for file, cost in costs.items() if cost > self.costly_s), key=lambda pair: -pair[1])
        if costly:
            terminalreporter.section(f"CPU seconds: {sum(costs.values()):.0f} in all, files above {self.costly_s:.0f}")
        for file, cost in costly:
            terminalreporter.write_line(f"{cost:8.1f}  {file}")
