"""The order of the project's own tests, and what they cost.

Front-ends that are judged in a checkout load this file, too: it does nothing but what is asked for.
"""

from __future__ import annotations

import re
import resource
from collections.abc import Generator

import pytest

EARLY = ("xdist_group", "slow", "torch", "compiles")
"""Marks of tests that take long; those of the first take most."""
SLOWEST = 30
"""Tests that ``--cost`` names."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow-first", action="store_true", help="begin with tests that take long")
    parser.addoption("--cost", action="store_true", help="show processor seconds by file and test")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--cost"):
        config.pluginmanager.register(_Costs(), "costs")


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(
    items: list[pytest.Item], config: pytest.Config
) -> Generator[None]:
    """Begin with what takes long: then all processes end together."""
    if config.getoption("--slow-first"):
        items.sort(key=_lateness)
    yield
    for item in items:
        # pytest-xdist 3.8 puts the group of a test where pytest 9.2 does not look for its name.
        grouped = vars(item).get("_nodeid")
        if grouped is not None:
            item._id = type(item.id).parse(grouped)


def _lateness(item: pytest.Item) -> int:
    return next((i for i, it in enumerate(EARLY) if item.get_closest_marker(it)), len(EARLY))


def _spent() -> float:
    """Return the processor seconds of this process and of those that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(it.ru_utime + it.ru_stime for it in usages)


class _Costs:
    """A plugin that notes what each test costs, in processor seconds, and shows the sums.

    What several tests share is the cost of the one that comes first. Processes that nobody waits
    for are not counted.
    """

    def __init__(self) -> None:
        self.tests: dict[str, float] = {}
        self.before = _spent()

    def pytest_runtestloop(self) -> None:
        self.before = _spent()  # without what collecting the tests has cost

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        now = _spent()
        report.user_properties.append(("cost", now - self.before))
        self.before = now
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        costs = [float(str(it)) for name, it in report.user_properties if name == "cost"]
        test = re.sub(r"@[\w-]+$", "", report.nodeid)  # without its group
        self.tests[test] = sum(costs, self.tests.get(test, 0.0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files: dict[str, float] = {}
        for test, cost in self.tests.items():
            file = test.partition("::")[0]
            files[file] = files.get(file, 0.0) + cost
        terminalreporter.section(f"processor seconds: {sum(files.values()):.1f} in tests")
        costs = [*_falling(files), *_falling(self.tests)[:SLOWEST]]
        for name, cost in costs:
            terminalreporter.write_line(f"{cost:8.1f} {name}")


def _falling(costs: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(costs.items(), key=lambda it: -it[1])
