"""What belongs to the process or to the thread: a call that changes any of it is found."""

from __future__ import annotations

import codecs
import contextlib
import copyreg
import ctypes
import decimal
import gc
import json
import logging
import math
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daily import by_day
from programs import ran
from whisper_mel_conformance.cases.catalogue import CHECKS, find
from whisper_mel_conformance.frontend import effects, state
from whisper_mel_conformance.frontend.caller import Caller
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import inspect_front_end

Change = Callable[[], AbstractContextManager[Any]]


@contextlib.contextmanager
def attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, value)
        yield


@contextlib.contextmanager
def item(owner: Any, name: Any, value: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(owner, name, value)
        yield


@contextlib.contextmanager
def in_c() -> Iterator[None]:
    ctypes.CDLL(None).setenv(b"WHISPER_MEL_TEST", b"1", 1)
    try:
        yield
    finally:
        ctypes.CDLL(None).unsetenv(b"WHISPER_MEL_TEST")


@contextlib.contextmanager
def set_and_put_back(put: Callable[[Any], Any], value: Any) -> Iterator[None]:
    """A setting whose function returns what was set before."""
    before = put(value)
    try:
        yield
    finally:
        put(before)


@contextlib.contextmanager
def frozen() -> Iterator[None]:
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextlib.contextmanager
def debugged() -> Iterator[None]:
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
    finally:
        gc.set_debug(0)


@contextlib.contextmanager
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


@contextlib.contextmanager
def careless() -> Iterator[None]:
    strict = codecs.lookup_error("strict")
    codecs.register_error("strict", codecs.ignore_errors)
    try:
        yield
    finally:
        codecs.register_error("strict", strict)


QUIET = logging.getLogger("whisper-mel.quiet")


@contextlib.contextmanager
def woken() -> Iterator[None]:
    ends = os.pipe2(os.O_NONBLOCK)
    before = signal.set_wakeup_fd(ends[1])
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        for end in ends:
            os.close(end)


@contextlib.contextmanager
def ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="of the tests")
        yield


CHANGES: dict[str, Change] = {
    "filter of warnings": ignored,
    "function numpy.fft.rfft": lambda: attribute(np.fft, "rfft", np.fft.hfft),
    "function builtins.print": lambda: attribute(__builtins_module(), "print", print_nothing),
    "function sys.excepthook": lambda: attribute(sys, "excepthook", print_nothing),
    "function sys.unraisablehook": lambda: attribute(sys, "unraisablehook", print_nothing),
    "function threading.excepthook": lambda: attribute(threading, "excepthook", print_nothing),
    "function time.time": lambda: attribute(time, "time", print_nothing),
    "environment of C: WHISPER_MEL_TEST": in_c,
    "sys.path": lambda: attribute(sys, "path", ["/nowhere", *sys.path]),
    "sys.argv": lambda: attribute(sys, "argv", ["other"]),
    "sys.stdin": lambda: attribute(sys, "stdin", None),
    "value tempfile.tempdir": lambda: attribute(tempfile, "tempdir", "/"),
    "decimal's context": lambda: decimal.localcontext(decimal.Context(prec=5)),
    "umask": lambda: set_and_put_back(os.umask, 0o70),
    "np.getbufsize()": lambda: set_and_put_back(np.setbufsize, 16_384),
    "np.geterrcall()": lambda: set_and_put_back(np.seterrcall, print_nothing),
    "stack of new threads": lambda: set_and_put_back(threading.stack_size, 1 << 20),
    "profiling and tracing": lambda: set_and_put_back(profile, print_nothing),
    "profiling and tracing: of new threads": lambda: set_and_put_back(trace, print_nothing),
    "function builtins.__import__": lambda: attribute(__builtins_module(), "__import__", slowly),
    "function json.dumps": lambda: attribute(json, "dumps", print_nothing),
    "function numpy.lib.stride_tricks.as_strided": lambda: attribute(
        np.lib.stride_tricks, "as_strided", print_nothing
    ),
    "function subprocess.Popen": lambda: attribute(subprocess, "Popen", print_nothing),
    "import hooks": lambda: attribute(sys, "meta_path", [print_nothing, *sys.meta_path]),
    "import hooks: of paths": lambda: attribute(sys, "path_hooks", sys.path_hooks[:1]),
    "module pluggy": lambda: item(sys.modules, "pluggy", gc),
    "garbage collection": lambda: attribute(gc, "callbacks", [print_nothing]),
    "garbage collection: frozen": frozen,
    "garbage collection: debugged": debugged,
    "timers": lambda: set_and_put_back(virtual_timer, 1e5),
    "slack of timers": lambda: set_and_put_back(slack, 77_000),
    "decimal's context: traps": lambda: decimal.localcontext(decimal.Context(traps=[])),
    "digits of converted numbers": lambda: set_and_put_back(digits, 5000),
    "value math.pi": lambda: attribute(math, "pi", 3.0),
    "value numpy.pi": lambda: attribute(np, "pi", 3.0),
    "value time.tzname": lambda: attribute(time, "tzname", ("JST", "JST")),
    "value sys.dont_write_bytecode": lambda: attribute(
        sys, "dont_write_bytecode", not sys.dont_write_bytecode
    ),
    "function threading.Thread.run": lambda: attribute(threading.Thread, "run", print_nothing),
    "function json.encoder.JSONEncoder.item_separator": lambda: attribute(
        json.JSONEncoder, "item_separator", ";"
    ),
    "sys.warnoptions": lambda: attribute(sys, "warnoptions", ["error"]),
    "logger root": lambda: attribute(logging.root, "level", 5),
    "logger whisper-mel.quiet": lambda: attribute(QUIET, "disabled", True),
    "tracemalloc": traced,
    "pickling of <class 're.Pattern'>": lambda: item(copyreg.dispatch_table, re.Pattern, repr),
    "handlers of coding errors": careless,
    "standard input, output and errors": lambda: set_and_put_back(blocking, False),
    "prctl: dumped": lambda: set_and_put_back(dumpable, 0),
    "prctl: adopts": lambda: set_and_put_back(subreaper, 1),
    "descriptor that signals wake": woken,
}


def __builtins_module() -> Any:
    return sys.modules["builtins"]


def print_nothing(*_words: object, **_more: object) -> None:
    """A function in place of another."""


def profile(function: Any) -> Any:
    before = sys.getprofile()
    sys.setprofile(function)
    return before


def trace(function: Any) -> Any:
    before = threading.gettrace()
    threading.settrace(function)
    return before


def slowly(*words: Any, _import: Any = __import__, **more: Any) -> Any:
    """A function that imports, in place of the usual one."""
    return _import(*words, **more)


def virtual_timer(seconds: float) -> float:
    return signal.setitimer(signal.ITIMER_VIRTUAL, seconds)[0]


def slack(nanoseconds: Any) -> str:
    path = Path("/proc/self/timerslack_ns")
    before = path.read_text()
    path.write_text(str(nanoseconds))
    return before


def digits(most: int) -> int:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(most)
    return before


def blocking(value: bool) -> bool:
    before = os.get_blocking(2)
    os.set_blocking(2, value)
    return before


def dumpable(value: int) -> int:
    before = prctl(3)
    prctl(4, value)
    return before


def subreaper(value: int) -> int:
    """The tests' process has adopted nobody before."""
    prctl(36, value)
    return 0


def prctl(*words: int) -> int:
    return int(ctypes.CDLL(None).prctl(*words))


def test_each_change_is_seen_and_named() -> None:
    before = state.snapshot()
    seen = {}
    for name, change in CHANGES.items():
        with change():
            during = state.snapshot()
        seen[name] = [line.partition(": ")[0] for line in state.differences(before, during)]
    assert seen == {name: [name.partition(": ")[0]] for name in CHANGES}
    assert state.differences(before, state.snapshot()) == []


LAZY = (
    "import sys, importlib; from whisper_mel_conformance.frontend import state;"
    "before = state.snapshot(); importlib.import_module(sys.argv[1]);"
    "print(state.differences(before, state.snapshot()))"
)


@pytest.mark.parametrize(
    "library", ["scipy.signal", pytest.param("torch", marks=pytest.mark.torch)]
)
def test_a_library_may_be_loaded_by_the_first_call(library: str) -> None:
    """It adds filters for its warnings; torch puts a function of its own in place of another."""
    assert ran([sys.executable, "-c", LAZY, library]).stdout.strip() == "[]"


def test_what_a_loaded_module_does_besides_is_seen(tmp_path: Path) -> None:
    Path(tmp_path, "silent.py").write_text("import warnings; warnings.simplefilter('ignore')")
    Path(tmp_path, "fixed.py").write_text("import random; random.seed(3)")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    for module, changed in (("silent", "warnings.filters"), ("fixed", "random's state")):
        said = ran([sys.executable, "-c", LAZY, module], env=environment).stdout
        assert said.startswith((f"['{changed}: ", f'["{changed}: '))


def test_a_hook_that_audits_is_seen() -> None:
    """It cannot be taken away: a process of its own adds it."""
    script = (
        "import sys; from whisper_mel_conformance.frontend import state;"
        "before = state.snapshot(); sys.addaudithook(lambda *_: None);"
        "print(state.differences(before, state.snapshot()))"
    )
    said = ran([sys.executable, "-c", script]).stdout
    assert said.strip() == "['audit hooks: 0 became 1']"


@pytest.mark.parametrize("name", ["nearest", "flushed", "up", "down", "zero"])
def test_a_mode_of_arithmetic_is_set_seen_and_put_back(name: str) -> None:
    before = state.control()
    with state.mode(name):
        during = state.control()
        quotients: Any = np.array([1, -1, 1e-310]) / np.array([3.0, 3.0, 2.0])
    third, minus, tiny = quotients
    assert state.control() == before
    assert (during != before) == (name != "nearest")
    assert (tiny == 0) == (name == "flushed")
    nearest = 1 / 3
    assert (third > nearest) == (name == "up")  # 1/3 is rounded down to the nearest
    assert (minus < -nearest) == (name == "down")


def test_descriptors_and_signals_are_seen() -> None:
    handler = signal.signal(signal.SIGUSR1, signal.SIG_DFL)  # a library may have its own
    before = state.snapshot()
    kept = os.dup(0)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        with open(os.devnull, "rb") as nothing, tempfile.TemporaryFile() as file:
            os.dup2(
                file.fileno() if os.readlink("/proc/self/fd/0") == os.devnull else nothing.fileno(),
                0,
            )
            during = state.snapshot()
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    seen = {line.partition(": ")[0] for line in state.differences(before, during)}
    after = state.snapshot()
    signal.signal(signal.SIGUSR1, handler)
    assert seen == {"signals", "handler of SIGUSR1", "standard input, output and errors"}
    assert state.differences(before, after) == []


def test_numbers_of_threads_of_loaded_libraries_are_seen() -> None:
    before = state.snapshot()
    counts = {name: value for name, value in before.items() if "openblas_get_num_threads" in name}
    assert counts, "NumPy computes with OpenBLAS"
    name, value = counts.popitem()
    function = name.rpartition("(")[2].rstrip(")").replace("get", "set")
    (path,) = (it for it in state._libraries() if Path(it).name == name.split()[2])
    put = getattr(ctypes.CDLL(path), function)
    put(int(value) % 2 + 1)
    during = state.snapshot()
    put(int(value))
    assert f"{name}: {value} became {int(value) % 2 + 1}" in state.differences(before, during)


def test_exceptions_of_arithmetic_are_not_seen_as_its_mode() -> None:
    one, three = np.array([1.0]), np.array([3.0])
    ctypes.CDLL("libm.so.6").feclearexcept(0x3D)
    before = state.control()
    assert one / three < 1.0, "it is inexact, which sets a flag"
    assert state.control() == before
    if platform.machine() == "x86_64":
        assert len(before) == 12, "MXCSR, and the x87's control word"


def test_libraries_that_are_seen_may_have_spaces_in_their_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 00000000 08:01 123   /opt/my libs/libgomp.so.1\n")
    monkeypatch.setattr(state, "Path", lambda *_: maps)
    assert state._libraries() == ["/opt/my libs/libgomp.so.1"]


def test_what_is_seen_of_a_value_has_an_end() -> None:
    lines = state.differences({"a": "x" * 100}, {"a": "y" * 100})
    assert lines == [f"a: {'x' * 80} became {'y' * 80}"]


def test_the_name_of_the_process_is_seen() -> None:
    assert state.snapshot()["name"] == Path("/proc/self/comm").read_text()


def test_the_rights_of_the_process_are_seen() -> None:
    said = [line.split()[:2] for line in state._status("Uid", "Gid")]
    assert said == [["Uid:", str(os.getuid())], ["Gid:", str(os.getgid())]]


def test_what_comes_with_a_library_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before = state.snapshot()
    monkeypatch.setattr(np, "a_new_function", print_nothing, raising=False)
    assert state.differences(before, state.snapshot()) == []


def seen(when: Callable[[Any, int], bool], calls: list[Any]) -> list[str]:
    """Changes by a front-end that changes the state in those calls alone, and refuses NaN."""
    count = 0

    def f(audio: Any) -> Any:
        nonlocal count
        count += 1
        if when(audio, count):
            np.random.seed(count)  # noqa: NPY002  what such code does
        if audio.ndim > 1 or audio.size < 201 or not np.isfinite(audio).all():
            raise ValueError("audio")
        return np.zeros((80, audio.size // 160), np.float32)

    caller = Caller(inspect_front_end(f, "test"))
    short = {"audio": np.ones(400, np.float32)}
    return effects.changes(caller, [{"audio": audio} for audio in calls], short)


WHEN: dict[str, Callable[[Any, int], bool]] = {
    "but 100 samples": lambda audio, _: audio.size == 100,
    "but 3 dimensions": lambda audio, _: audio.ndim == 3,
    "but NaN": lambda audio, _: bool(np.isnan(audio).any()),
    "int16": lambda audio, _: audio.dtype == np.int16,
    "200 short calls": lambda audio, count: audio.size == 400 and count == 150,
    "never": lambda *_: False,
}
"""Which calls change the state, by what is said of them."""


@pytest.mark.parametrize("said", by_day(WHEN, ["but NaN", "200 short calls", "never"]))
def test_a_change_is_seen_whatever_brings_it_about(said: str) -> None:
    before = np.random.get_state()  # noqa: NPY002
    clips = [np.ones(1600, np.float32), np.ones(1600, np.int16)]
    try:
        changes = seen(WHEN[said], clips)
        assert bool(changes) == (said != "never")
        assert all(said in change and "np.random's state" in change for change in changes)
    finally:
        np.random.set_state(before)  # noqa: NPY002


@pytest.mark.parametrize(("multiple", "shortest"), [(1, 400), (160, 800), (16_000, 16_000)])
def test_the_case_asks_for_all_that_is_claimed(
    multiple: int, shortest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    class Front:
        capabilities = {
            "dtypes": ("float32", "int16", "float64"),
            "batch": True,
            "multiple_of": multiple,
        }

        def log_mel(self, audio: Any, n_mels: int = 80) -> Any:
            raise AssertionError("it is not called here")

    front_end = InProcess(inspect_front_end(Front(), "test"))

    def perform(_operation: str, *, calls: list[Any], short: Any, **_more: Any) -> list[str]:
        assert short["audio"].size == shortest
        given.extend(calls)
        return []

    monkeypatch.setattr(front_end, "perform", perform)
    case = find("state/unchanged")
    CHECKS[case.check](front_end, **case.arguments)
    kinds = {(str(call["audio"].dtype), *call["audio"].shape, call["n_mels"]) for call in given}
    assert kinds == {
        *(("float32", 80_000, 80), ("float32", 80_000, 128), ("float32", 480_000, 80)),
        *(("int16", 80_000, 80), ("float64", 80_000, 80), ("float32", 2, 80_000, 80)),
    }


def test_files_of_programs_are_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("WHISPER_MEL_WARDEN", str(os.getppid()))
    assert effects._usage()["temporary files"] == 0
    (tmp_path / "folder").mkdir()
    assert effects._usage()["temporary files"] == 1
    (tmp_path / "folder" / "left").touch()
    assert effects._usage()["temporary files"] == 2


def test_shared_memory_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its files, and by lines of what the system says: a pool of its own would hide it."""
    listed = {"/dev/shm": ["a", "b"], "/proc/self/fd": []}
    monkeypatch.setattr(effects.os, "listdir", lambda path: listed.get(str(path), []))
    monkeypatch.setattr(effects.Path, "read_text", lambda path: f"{path}\nkey\nkey\n")
    assert effects._shared_memory() == 5
