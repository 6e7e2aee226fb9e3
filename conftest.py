"""The order of the project's own tests where they are spread, and what they cost."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Generator

import pytest

SLOWEST = 30
"""Tests that ``--cost`` names."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cost", action="store_true", help="show processor seconds by file and test")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--cost"):
        config.pluginmanager.register(_Costs(), "costs")


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Begin with what takes long, where tests are spread: then all processes end together."""
    if getattr(config.option, "loadgroup", False):
        items.sort(key=lambda it: 0 if it.get_closest_marker("xdist_group") else _is_quick(it) + 1)


def _is_quick(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is None


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
        self.tests: Counter[str] = Counter()
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
        self.tests[report.nodeid] += dict(report.user_properties).get("cost", 0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        files: Counter[str] = Counter()
        for test, cost in self.tests.items():
            files[test.partition("::")[0]] += cost
        costs = [*files.most_common(), *self.tests.most_common(SLOWEST)]
        terminalreporter.section(f"processor seconds: {files.total():.1f} in tests")
        for name, cost in costs:
            terminalreporter.write_line(f"{cost:8.1f} {name}")
