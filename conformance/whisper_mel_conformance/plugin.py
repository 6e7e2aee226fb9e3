"""The pytest plugin. It is loaded into every pytest run of its environment, so it imports only
pytest, adds one group of options, and is silent unless a front-end is named."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from whisper_mel_conformance.rendering.documents import Document
    from whisper_mel_conformance.running import Run

RUN: pytest.StashKey[Run] = pytest.StashKey()
DOCUMENT: pytest.StashKey[Document] = pytest.StashKey()
_LOCK: pytest.StashKey[int] = pytest.StashKey()
_SUITE = Path(__file__).with_name("suite.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("whisper-mel", "conformance of Whisper's log-Mel front-ends")
    group.addoption(
        "--frontend",
        action="append",
        default=[],
        metavar="NAME|MODULE:ATTR|FILE.py:ATTR|cmd:COMMAND",
        help="a front-end to judge (repeatable); then `pytest --pyargs whisper_mel_conformance`",
    )
    group.addoption(
        "--frontend-peers",
        choices=("none", "light", "all"),
        default="none",
        help="judge the installed implementations that the suite has adapters for, too: all, or "
        "those that need neither PyTorch nor Node.js (default: none)",
    )
    group.addoption(
        "--frontend-profile",
        choices=("quick", "ci", "nightly"),
        default="quick",
        help="how many and how long cases (default: quick)",
    )
    group.addoption(
        "--frontend-report",
        type=Path,
        default=Path("report"),
        metavar="DIR",
        help="folder for report.json and the reproductions of failures (default: report)",
    )
    group.addoption(
        "--frontend-known",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="TOML file of known failures (repeatable)",
    )
    group.addoption(
        "--frontend-timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="for a call; the first one may take six times as long (default: 30)",
    )
    group.addoption(
        "--frontend-benchmark",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="a result of `./dev bench` to be shown in the report (repeatable)",
    )
    group.addoption(
        "--frontend-mutants",
        type=Path,
        metavar="FILE",
        help="a result of `./dev mutants` to be shown in the report",
    )
    group.addoption(
        "--frontend-quiet", action="store_true", help="at the end, say only what is wrong"
    )


def pytest_collection(session: pytest.Session) -> None:
    options = session.config.option
    if options.frontend or options.frontend_peers != "none":
        from whisper_mel_conformance.folder import claim
        from whisper_mel_conformance.suite import make_run

        try:
            session.config.stash[_LOCK] = claim(options.frontend_report)
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
        session.config.stash[RUN] = make_run(session.config)
        _end_by_sigterm(session.config.stash[RUN])


def _end_by_sigterm(run: Run) -> None:
    """SIGTERM ends a run as Ctrl-C does: with a report of what was judged."""

    def end(number: int, frame: object) -> None:
        run.interrupted = "SIGTERM"
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path != _SUITE or RUN not in parent.config.stash:
        return None
    if parent.session.isinitpath(file_path):
        return None  # a file that is named is collected without our help
    module: pytest.Module = pytest.Module.from_parent(parent, path=file_path)
    return module


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    document = config.stash.get(DOCUMENT, None)
    if document is not None:
        from whisper_mel_conformance.terminal import summary

        options, writer = config.option, config.get_terminal_writer()
        terminalreporter.ensure_newline()
        terminalreporter.write(
            summary(
                document,
                options.frontend_report,
                width=writer.fullwidth,
                colour=writer.hasmarkup,
                quiet=options.frontend_quiet,
            )
        )


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    run = session.config.stash.get(RUN, None)
    if run is None:
        return
    try:
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            raise KeyboardInterrupt
        run.diagnose()
    except KeyboardInterrupt:
        run.interrupted = run.interrupted or "SIGINT"
        session.exitstatus = 128 + signal.Signals[run.interrupted]
    finally:
        run.stop()
    if not run.results:
        return
    from whisper_mel_conformance.report import document, write

    folder = session.config.option.frontend_report
    made = document(run, folder)
    try:
        write(run, made, folder)
    except OSError as error:
        run.unwritten.append(f"the report could not be written: {error.strerror}")
        made = document(run, folder)
    session.config.stash[DOCUMENT] = made
    if run.problems() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure(config: pytest.Config) -> None:
    if _LOCK in config.stash:
        os.close(config.stash[_LOCK])
