"""Quirks of the state of the whole process: it is changed, or it decides about the features."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable

import numpy as np

from whisper_mel_conformance.frontend import state
from whisper_mel_conformance.quirks.table import Array, Table, right

SETTINGS = Table("process")

_SINCE = "2026-11-27"


def _changing(
    id: str,
    mechanism: str,
    effect: str,
    *,
    fix: str,
    killer: str = "state/unchanged",
    since: str = _SINCE,
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Decorate a function that changes the state of the process in each call."""

    def add(change: Callable[[], None]) -> Callable[[], None]:
        @SETTINGS.front_end(id, mechanism, effect, fix=fix, killer=killer, since=since)
        def front_end(audio: Array, n_mels: int = 80) -> Array:
            y = right(audio, n_mels)
            change()
            return y

        return change

    return add


@_changing(
    "denormals-left-flushed",
    "Denormals are flushed in a call, and afterwards.",
    "the caller's 1e-310 x 0.5 is 0",
    fix="Put the mode back before returning: keep MXCSR at the start, and restore it "
    "on every path.",
)
def _flush() -> None:
    state.set_mode("flushed")


@_changing(
    "rounding-left-upwards",
    "The rounding mode is set, and left as it is.",
    "the caller's sums are off",
    fix="Put the rounding mode back before returning. C: `fesetround(before);`.",
)
def _round() -> None:
    state.set_mode("up")


@_changing(
    "random-numbers-seeded",
    "NumPy's global random numbers are seeded.",
    "the caller's random numbers repeat",
    fix="Use a generator of your own: `np.random.default_rng(0)`.",
)
def _seed() -> None:
    np.random.seed(0)  # noqa: NPY002  what such code does


@_changing(
    "python-random-numbers-drawn",
    "A number of Python's global random numbers is drawn.",
    "the caller's random numbers depend on the number of calls",
    fix="Use a generator of your own: `random.Random(0)`.",
)
def _draw() -> None:
    random.random()


@_changing(
    "numpy-errors-silenced",
    "NumPy's warnings are switched off.",
    "the caller's are, too",
    fix='Only within the call: `with np.errstate(all="ignore"): ...`.',
)
def _silence() -> None:
    np.seterr(all="ignore")


@_changing(
    "warnings-silenced",
    "Python's warnings are switched off.",
    "the caller's are, too",
    fix="Only within the call: `with warnings.catch_warnings(): ...`.",
)
def _ignore() -> None:
    warnings.simplefilter("ignore")


@_changing(
    "environment-changed",
    "OMP_NUM_THREADS is set in the process's environment.",
    "what the caller loads later has one thread",
    fix="Hand the number of threads to the pool that computes; only a child gets another "
    'environment: `subprocess.run(args, env={**os.environ, "OMP_NUM_THREADS": "1"})`. '
    "C: `#pragma omp parallel num_threads(1)`.",
)
def _limit() -> None:
    os.environ["OMP_NUM_THREADS"] = "2" if os.environ.get("OMP_NUM_THREADS") == "1" else "1"


@_changing(
    "folder-changed",
    "The working directory is changed.",
    "relative paths lead elsewhere",
    fix="Open files by whole paths: `Path(__file__).parent`, and never call os.chdir.",
)
def _move() -> None:
    os.chdir("/")


class _Finder:
    """A finder of modules that finds none."""

    find_spec = staticmethod(lambda *_: None)


@_changing(
    "import-hook-added",
    "A finder of modules is added to sys.meta_path.",
    "each later import of the caller asks it first",
    fix="Import what is needed when the package is loaded, and take the finder out again: "
    "`sys.meta_path.remove(finder)` in a finally clause.",
    since="2026-11-28",
)
def _find() -> None:
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


@_changing(
    "interrupt-handled",
    "A handler of SIGINT is installed.",
    "Ctrl-C does something else",
    fix="Leave signals to the program: a library installs no handlers.",
)
def _handle() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@_changing(
    "output-left-redirected",
    "Standard output is redirected for a call, to keep a library quiet, and stays so.",
    "what the caller prints is lost",
    fix="Do not redirect, or put it back in a finally clause: `os.dup2(saved, 1)`.",
)
def _redirect() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@_changing(
    "processors-limited",
    "The process is bound to one processor.",
    "everything else in it is slower",
    fix="Leave the process's processors as they are: bind threads of your own only.",
)
def _bind() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])


@_changing(
    "numpy-function-replaced",
    "A function of NumPy is replaced by another, for a library that calls it.",
    "the caller's transforms are computed by something else",
    fix="Hand the function over as an argument, or replace it for a moment: "
    '`unittest.mock.patch("numpy.fft.rfft", faster)` in a with statement.',
)
def _replace() -> None:
    before = np.fft.hfft
    np.fft.hfft = lambda *words, **more: before(*words, **more)


@_changing(
    "environment-of-c-changed",
    "OMP_NUM_THREADS is set by C's setenv, which Python does not see.",
    "what the caller loads later has one thread",
    fix="Hand the number of threads to the pool that computes. "
    "C: `#pragma omp parallel num_threads(1)`.",
)
def _set_in_c() -> None:
    ctypes.CDLL(None).setenv(b"OMP_NUM_THREADS", b"7", 1)


@_changing(
    "rounding-to-nearest-left",
    "The rounding mode is set to nearest for the call, and left there.",
    "a caller who has set another one loses it",
    fix="Put back the mode that was there, not the usual one. C: `int before = "
    "fegetround(); ... fesetround(before);`.",
    killer="state/modes-of-others",
)
def _nearest() -> None:
    state.set_mode("nearest")


@SETTINGS.front_end(
    "state-kept-by-errors",
    "NumPy's warnings are switched off during a call, and stay off after an exception.",
    "the caller's are off, too",
    fix='Put settings back whatever happens: `with np.errstate(all="ignore"): ...` '
    "instead of np.seterr.",
    killer="state/unchanged",
    since=_SINCE,
)
def state_kept_by_errors(audio: Array, n_mels: int = 80) -> Array:
    before = np.seterr(all="ignore")
    y = right(audio, n_mels)
    np.seterr(**before)
    return y


@SETTINGS.front_end(
    "denormals-needed",
    "A denormal number stands for silence.",
    "off where others have set that denormals are flushed",
    fix="Do not rely on denormal numbers: compare with a normal one, such as the floor of 1e-10.",
    killer="state/modes-of-others",
    since=_SINCE,
)
def denormals_needed(audio: Array, n_mels: int = 80) -> Array:
    tiny = np.float32(1e-30) * np.float32(1e-10)
    return right(audio, n_mels) + np.float32(tiny == 0)


@SETTINGS.front_end(
    "random-numbers-seeded-for-int16",
    "NumPy's global random numbers are seeded where int16 audio is dithered.",
    "the caller's random numbers repeat",
    fix="Use a generator of your own: `np.random.default_rng(0)`.",
    killer="state/unchanged",
    since=_SINCE,
)
class RandomNumbersSeededForInt16:
    capabilities = {"dtypes": ("float32", "int16")}

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        if audio.dtype == np.int16:
            _seed()
        return right(audio, n_mels)
