"""Judging of cases, one after the other, in whichever process pytest runs them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from random import SystemRandom
from typing import Any

from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.cases.catalogue import CHECKS, all_cases
from whisper_mel_conformance.cases.check import Remark
from whisper_mel_conformance.cases.properties import EXAMPLES, Found, Property
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_conformance.run.result import Result
from whisper_mel_conformance.run.setup import Setup

_SHOWN = 3  # failures whose arrays are kept, for each front-end and family
_LARGEST = 8 << 20  # bytes of arrays of one failure


def judge_case(front_end: FrontEnd, case: Case, *, profile: str, seed: int) -> Result:
    """Run one case without regard to declared failures.

    No exception leaves this function. One that is not the front-end's is an error of the suite and
    fails the case. What is measured is measured alone on this machine.
    """
    with _alone() if CHECKS[case.check].alone else contextlib.nullcontext():
        return _judged(front_end, case, profile, seed)


def _judged(front_end: FrontEnd, case: Case, profile: str, seed: int) -> Result:
    result = Result(front_end.name, case.id, "passed", arguments=case.arguments)
    start, calls = time.perf_counter(), front_end.calls
    try:
        reason = case.beyond(front_end.capabilities)
        if reason is not None:
            result.status, result.message = "skipped", reason
        else:
            _run(result, front_end, case, EXAMPLES[profile], seed)
    except Found as found:
        result.arguments = found.arguments
        _note(result, found.error)
    except Exception as error:
        _note(result, error)
    result.seconds = time.perf_counter() - start
    result.calls = front_end.calls - calls
    return result


def _run(result: Result, front_end: FrontEnd, case: Case, examples: int, seed: int) -> None:
    def attempt(arguments: Mapping[str, Any]) -> float | None:
        return CHECKS[case.check](front_end, **arguments)

    if isinstance(case, Property):
        # Not above: hypothesis takes a third of the time that a short run takes to start.
        from whisper_mel_conformance.cases.drawing import search

        if case.is_fresh:
            seed = SystemRandom().getrandbits(32)
        result.score, result.arguments = search(
            case, front_end.capabilities, attempt, examples=examples, seed=seed
        )
    else:
        result.score = attempt(case.arguments)


def _note(result: Result, error: Exception) -> None:
    if isinstance(error, Remark):
        result.message = str(error)
        return
    if isinstance(error, Unsupported):
        result.status, result.message = "skipped", f"unsupported: {error}"
        return
    result.status, result.message = "failed", str(error)
    if isinstance(error, Failure):
        result.score, result.arrays = error.score, error.arrays
    elif isinstance(error, Refused):
        result.message = f"raised {error}"
    else:
        trace = "".join(traceback.format_exception(error))[-3000:]
        result.message = f"internal error of the suite: {type(error).__name__}: {error}\n{trace}"


class Judge:
    """The front-ends and the cases of a run, as one process judges them."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.front_ends = list(setup.started())
        self._at_work: FrontEnd | None = None
        self._kept: dict[tuple[str, str], list[float]] = {}

    def plan(self) -> Iterator[tuple[FrontEnd, Case]]:
        """Yield every case of every front-end, one front-end after the other."""
        for front_end in self.front_ends:
            for case in all_cases(self.setup.profile):
                yield front_end, case

    def judge(self, front_end: FrontEnd, case: Case) -> Result:
        """Run a case; end the process of the front-end judged before, if it is another."""
        if self._at_work is not front_end:
            self.stop()
            self._at_work = front_end
        result = judge_case(front_end, case, profile=self.setup.profile, seed=self.setup.seed)
        self._declare(result, front_end, case)
        if result.arrays and not self._shows(result):
            result.arrays = {}
        return result

    def stop(self) -> None:
        """End the process of the front-end that was judged last."""
        if self._at_work is not None:
            self._at_work.stop()
            self._at_work = None

    def _declare(self, result: Result, front_end: FrontEnd, case: Case) -> None:
        """Compare the result with the declared failures of the front-end."""
        entries = [
            (number, entry)
            for number, entry in enumerate(self.setup.known)
            if entry.is_about(front_end.name, front_end.source) and entry.covers(case.id)
        ]
        if result.status == "failed":
            for number, entry in entries:
                if entry.declares(case.id, result.score):
                    result.status, result.declared = "known", number
                    result.message = f"{entry.mechanism} ({result.message})"
                    return
        elif result.status == "passed" and not isinstance(case, Property):
            for _, entry in entries:
                if not entry.some:
                    result.status = "failed"
                    result.message = (
                        f"passes, but is declared as a failure since {entry.since}: "
                        "remove the entry"
                    )
                    return

    def _shows(self, result: Result) -> bool:
        """Return whether to keep a failure's arrays: a family's first failures, then worse ones."""
        if sum(array.nbytes for array in result.arrays.values()) > _LARGEST:
            return False
        kept = self._kept.setdefault((result.front_end, result.family), [])
        score = result.score or 0.0
        if len(kept) >= _SHOWN and not score > max(kept):
            return False
        kept.append(score)
        return True


_WAIT = 120.0  # seconds: longer than what is measured takes


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other process of this user measures on this machine.

    The lock only avoids time-outs. Without a lock file nothing is waited for, and who keeps the
    lock for longer than ``_WAIT`` seconds, as any front-end can, has it alone: the file is removed.
    """
    path = os.path.join(tempfile.gettempdir(), f"whisper-mel-measuring-{os.getuid()}")
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        if not _locked(lock, _WAIT):
            with contextlib.suppress(OSError):
                os.unlink(path)
        yield
    finally:
        os.close(lock)


def _locked(file: int, seconds: float) -> bool:
    """Lock an open file; return False if others keep the lock for ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        else:
            return True
