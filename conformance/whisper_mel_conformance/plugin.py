"""The pytest plugin.

It is loaded into every pytest run of its environment. Therefore it imports only pytest, adds one
group of options, and is silent unless a front-end is named.

The process that the user started prepares the run, takes the result that each test report carries,
diagnoses failures and writes the report. Tests run in that process or in those of pytest-xdist;
each of these judges by the setup that it receives.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from whisper_mel_conformance.keys import JUDGE, RESULT, SENT
from whisper_mel_conformance.options import OPTIONS, value

_SUITE = Path(__file__).with_name("suite.py")


# --------------------------------------------------------------------------- options


def pytest_addoption(parser: pytest.Parser) -> None:
    group = _group(parser)
    for option in OPTIONS:
        group.addoption(f"--mel-{option.name}", dest=option.attribute, **option.settings)


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(parser: pytest.Parser) -> Generator[None, None, None]:
    """Add the earlier spellings after every plugin and conftest.py has added its own options."""
    yield
    add_earlier_spellings(parser)


def add_earlier_spellings(parser: pytest.Parser) -> None:
    """Add ``--frontend`` and the other earlier spellings, except those that another plugin has."""
    group = _group(parser)
    for option in OPTIONS:
        for spelling in option.old:
            if _is_free(parser, spelling):
                settings = {**option.settings, "help": "the same"}
                group.addoption(spelling, dest=option.attribute, **settings)


def _is_free(parser: pytest.Parser, spelling: str) -> bool:
    """Whether nobody has this option. Some versions of pytest tell of a second one too late."""
    try:
        _, unknown = parser.parse_known_and_unknown_args([f"{spelling}=x"])
    except pytest.UsageError:  # theirs, which takes another value or none
        return False
    return bool(unknown)


def _group(parser: pytest.Parser) -> Any:
    return parser.getgroup("whisper-mel", "conformance of Whisper's log-Mel front-ends")


# --------------------------------------------------------------------------- every process


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    handed = getattr(config, "workerinput", None)
    if handed is not None:
        if SENT in handed:
            _judge_by(config, handed[SENT])
    elif value(config.option, "frontend") or value(config.option, "peers") != "none":
        from whisper_mel_conformance.collecting import Collecting

        collecting = Collecting(config)
        config.pluginmanager.register(collecting)
        _judge_by(config, collecting.run.setup.text())


def _judge_by(config: pytest.Config, setup: str) -> None:
    from whisper_mel_conformance.run.judge import Judge
    from whisper_mel_conformance.run.setup import of_text

    config.stash[JUDGE] = Judge(of_text(setup))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path != _SUITE or JUDGE not in parent.config.stash:
        return None
    if parent.session.isinitpath(file_path):
        return None  # pytest collects a file that is named on its command line
    module: pytest.Module = pytest.Module.from_parent(parent, path=file_path)
    return module


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    result = item.stash.get(RESULT, None)
    if result is not None and call.when == "call":
        setattr(report, SENT, result.pack())
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    judge = session.config.stash.get(JUDGE, None)
    if judge is not None:
        judge.stop()
