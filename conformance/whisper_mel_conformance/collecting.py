"""The pytest plugin's part that is active only in the process that collects the results."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy
from whisper_mel_conformance.cases.catalogue import all_cases
from whisper_mel_conformance.diagnosis.diagnose import diagnose
from whisper_mel_conformance.diagnosis.outcome import Diagnosis
from whisper_mel_conformance.folder import claim
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.keys import LIVE, SENT
from whisper_mel_conformance.options import value
from whisper_mel_conformance.report.documents import Document, beside
from whisper_mel_conformance.report.terminal import Live, summary
from whisper_mel_conformance.report.write import Failures, document, forget, write
from whisper_mel_conformance.run.own_files import changes, fingerprints
from whisper_mel_conformance.run.result import Result, unpack
from whisper_mel_conformance.run.run import Key, Run
from whisper_mel_conformance.run.setup import prepare


class Collecting:
    """A pytest plugin that owns a run and its folder, takes in the results and shows them.

    Raises ``pytest.UsageError`` for options that describe no run.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._options = config.option
        self.folder = Path(value(config.option, "report"))
        self._lock: int | None = None
        self._document: Document | None = None
        self._diagnoses: dict[str, Diagnosis] = {}
        self._live: Live | None = config.stash.get(LIVE, None)
        self._stopped: str | None = None
        try:
            self.run = self._prepare()
            self._failures = Failures(self.folder, len(self.run.front_ends))
        except ValueError as error:
            self._release()
            raise pytest.UsageError(str(error)) from error
        self._keys = {
            _in_brackets(f.name, case.id): (f.name, case.id)
            for f in self.run.front_ends
            for case in all_cases(self.run.setup.profile)
        }
        _end_by_sigterm(self)

    def _prepare(self) -> Run:
        def option(name: str) -> Any:
            return value(self._options, name)

        if not self._options.collectonly:
            self._lock = claim(self.folder)
        self._beside = beside(option("benchmark"), option("mutants"))
        self._own = fingerprints()
        setup = prepare(
            option("frontend"),
            names=option("name"),
            with_peers=option("peers"),
            profile=option("profile"),
            seed=self._seed(),
            timeout=option("timeout"),
            known_files=[Path(path) for path in option("known-failures")],
            model=option("model"),
        )
        setup.report = str(self.folder)
        if not self._options.collectonly:
            forget([description["name"] for description in setup.front_ends], self.folder)
        return Run(setup)

    def _seed(self) -> int:
        """Return the seed of ``--seed``, else of ``--hypothesis-seed``, else 0: equal runs by
        default.
        """
        given = value(self._options, "seed")
        if given is None:
            given = self._config.getoption("--hypothesis-seed", default=None)
        return SystemRandom().getrandbits(32) if given == "random" else int(given or 0)

    # ----------------------------------------------------------------------- while it runs

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Hand the setup to a process of pytest-xdist."""
        node.workerinput[SENT] = self.run.setup.text()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        self._plan(ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._plan([item.nodeid for item in session.items])

    def _plan(self, nodes: Iterable[str]) -> None:
        self.run.plan(key for key in map(self._key, nodes) if key is not None)
        if self._live is not None:
            self._live.start(self.run.planned)

    def _key(self, node: str) -> Key | None:
        """Return the front-end and the case of a test; None for a test that is not the suite's."""
        return self._keys.get(node.partition("::test_conformance[")[2].removesuffix("]"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        packed = getattr(report, SENT, None)
        key = self._key(report.nodeid)
        if packed is not None:
            self._take(unpack(packed))
        elif report.failed and key is not None:
            self._take(
                Result(*key, "failed", f"internal error of the suite: {report.longreprtext}")
            )

    def _take(self, result: Result) -> None:
        if not self.run.add(result):
            return
        if result.status == "failed":
            front_end = next(f for f in self.run.front_ends if f.name == result.front_end)
            try:
                self._failures.write(result, front_end)
            except (OSError, ValueError) as error:
                self.run.unwritten.append(
                    f"the reproduction of {result.front_end} {result.case} could not be written: "
                    f"{_reason(error)}"
                )
        if self._live is not None:
            self._live.add(result)

    # ----------------------------------------------------------------------- at the end

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note that a signal ended the run, or pytest itself (``-x``)."""
        if excinfo.type is not KeyboardInterrupt:  # a subclass of pytest's or pytest-xdist's
            self._stopped = str(excinfo.value)
        elif self.run.interrupted is None:
            self.run.interrupted = "SIGINT"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._options.collectonly:
            return
        self._end(session)
        if self._live is not None:
            self._live.finish(self._summary(self._live.width, self._live.colour))

    def _end(self, session: pytest.Session) -> None:
        """Write the report, diagnose failures, and decide the exit status."""
        run = self.run
        run.spoiled = changes(self._own)
        if run.planned:
            if not run.interrupted:
                early = self._stopped or session.shouldfail or session.shouldstop
                if early:
                    run.stopped = str(early)
                else:
                    run.fail_missing()
            self._write()  # written before the diagnosis, which a front-end may crash or hang
            if run.interrupted != "SIGTERM":  # after Ctrl-C, too: it takes seconds
                self._diagnose()
                if self._diagnoses or run.interrupted:
                    self._write()
        if run.interrupted:
            session.exitstatus = 128 + signal.Signals[run.interrupted]
        elif run.problems() and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _diagnose(self) -> None:
        """Diagnose the front-ends that failed; a signal ends the diagnosis and loses nothing else.

        A front-end with declared failures only is diagnosed if it was named or if all peers are
        judged. Cases that no call came back from are left out: they ended the process that judged
        them, and may end this one.
        """
        run = self.run
        if self._live is not None and any(r.status == "failed" for r in run.results):
            self._live.look_for_causes()
        try:
            for front_end in run.front_ends:
                name = front_end.name
                wanted = name in run.setup.named or value(self._options, "peers") == "all"
                failed = run.of(name, "failed") or (run.of(name, "known") if wanted else [])
                if failed and run.calls(name):
                    ids = [result.case for result in failed if result.calls]
                    self._diagnoses[name] = _diagnosed(front_end, ids)
                    front_end.stop()
        except KeyboardInterrupt:
            run.interrupted = run.interrupted or "SIGINT"
        finally:
            for front_end in run.front_ends:
                front_end.stop()

    def _write(self) -> None:
        """Write the report of the results so far."""
        self._document = document(self.run, self._diagnoses, self.folder, self._beside)
        try:
            write(self._diagnoses, self._document, self.folder)
        except (OSError, ValueError) as error:
            sentence = f"the report could not be written: {_reason(error)}"
            if sentence not in self.run.unwritten:
                self.run.unwritten.append(sentence)
            self._document = document(self.run, self._diagnoses, self.folder, self._beside)

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        if not self._options.collectonly:
            writer = config.get_terminal_writer()
            terminalreporter.ensure_newline()
            terminalreporter.write(self._summary(writer.fullwidth, writer.hasmarkup))

    def _summary(self, width: int, colour: bool) -> str:
        """Return the text that is shown at the end."""
        if self._document is None:
            why = self.run.interrupted or self.run.stopped or self._nothing_selected()
            return f"whisper-mel: nothing was judged: {why}\n"
        quiet = value(self._options, "quiet")
        return summary(self._document, self.folder, width=width, colour=colour, quiet=quiet)

    def _nothing_selected(self) -> str:
        """Return why no case was selected."""
        if not self._options.keyword:
            return "no case was selected"
        ids = ", ".join(case.id for case in all_cases(self.run.setup.profile)[::200][:3])
        return (
            f"-k {self._options.keyword!r} matches no case of the profile "
            f"{self.run.setup.profile}. Ids are such as {ids}; --collect-only lists them"
        )

    def pytest_unconfigure(self) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _diagnosed(front_end: FrontEnd, failed: Sequence[str]) -> Diagnosis:
    """Return the diagnosis; an error in it costs the cause, not the verdict."""
    try:
        return diagnose(front_end, failed=failed)
    except Exception:
        *_, last = traceback.format_exc().strip().rsplit("\n  File ", 2)
        cause = "The cause is not known: the diagnosis ended in an internal error of the suite."
        return Diagnosis([], cause, evidence=[f"Please report it: {' '.join(last.split())}"])


def _reason(error: OSError | ValueError) -> str:
    """Return why something could not be written, in words."""
    return getattr(error, "strerror", None) or str(error)


def _in_brackets(front_end: str, case: str) -> str:
    """Return what pytest shows in the brackets of a test's name: ASCII, the rest escaped."""
    return f"{front_end}:{case}".encode("unicode_escape").decode("ascii")


def _end_by_sigterm(collecting: Collecting) -> None:
    """Make SIGTERM end a run as Ctrl-C does: with a report of the cases judged so far."""

    def end(number: int, frame: object) -> None:
        collecting.run.interrupted = "SIGTERM"
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
