"""The state of the process and of the calling thread that no call may change.

A snapshot is a dictionary of names and values in words. Libraries are looked at only where they are
loaded already.
"""

from __future__ import annotations

import codecs
import copyreg
import ctypes
import decimal
import faulthandler
import gc
import hashlib
import itertools
import locale
import logging
import multiprocessing
import os
import platform
import random
import re
import resource
import signal
import socket
import sys
import tempfile
import threading
import tracemalloc
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.fft  # loaded before anybody can replace a function of it
import numpy.linalg
import numpy.random

Snapshot = dict[str, str]

_FENV_BYTES = 64  # at least the size of the C library's fenv_t


def snapshot() -> Snapshot:
    """Return the state as it is now."""
    found: Snapshot = {}
    tempfile.gettempdir()  # sets tempfile.tempdir, which may not change from now on
    for name, of in _STATE.items():
        found[name] = str(of())
    found |= {f"os.environ[{name!r}]": value for name, value in os.environ.items()}
    found |= {f"environment of C: {name}": value for name, value in _environment_of_c()}
    found |= _members()
    found |= {f"module {name}": f"{id(module):#x}" for name, module in [*sys.modules.items()]}
    found |= _loggers() | _pickling() | _filters()
    found |= {f"handler of {s.name}": str(signal.getsignal(s)) for s in signal.Signals}
    for path in _libraries():
        found |= _thread_counts(path)
    return found | _torch()


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Say what differs. What came with libraries that were loaded in between is no difference; of a
    class that was replaced no members are named.
    """
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    changed = frozenset(names)
    loaded = {name for name in changed if name.startswith("module ") and name not in before}
    return [
        f"{name}: {before.get(name, 'absent')[:80]} became {after.get(name, 'absent')[:80]}"
        for name in names
        if (name in before or not name.startswith(_OF_LIBRARIES))
        and name.rpartition(".")[0] not in changed
        and not (loaded and _comes_with(loaded, name, after.get(name, "")))
    ]


_OF_LIBRARIES = (
    *("threads of ", "torch.", "function ", "value ", "module ", "logger ", "pickling of "),
)


def _comes_with(loaded: Collection[str], name: str, value: str) -> bool:
    """Return whether a change is one that loaded modules make: a filter for a warning of theirs, or
    a function of theirs in place of another."""
    if name.startswith("function "):
        return f"module {value.partition(_OF)[2]}" in loaded
    return name.startswith("filter of warnings: ") and bool(value)


_OF = ", of "


# --------------------------------------------------------------------------- floating point


def control() -> str:
    """Return the control bits of floating-point arithmetic in this thread, as hexadecimal digits.

    They hold the rounding mode, the flushing of denormals and the enabled traps, on x86-64 also the
    precision of the x87. Empty where the machine or the C library is unknown.
    """
    place = _control_bits()
    if place is None:
        return ""
    found = _environment()
    return found[place].hex() + (found[:2].hex() if platform.machine() == "x86_64" else "")


def set_mode(name: str) -> bytes:
    """Set a mode of floating-point arithmetic in this thread; return what was set before.

    ``name`` is ``"flushed"`` (denormals are), or a rounding mode: ``"nearest"``, ``"up"``,
    ``"down"`` or ``"zero"``. Raises ``NotImplementedError`` where it cannot be set.
    """
    place = _control_bits()
    if place is None:
        raise NotImplementedError("the modes of this machine's arithmetic are unknown to the suite")
    flush, shift, rounding = _MODES[platform.machine()]
    before = _environment()
    bits = int.from_bytes(before[place], sys.byteorder)
    bits = bits | flush if name == "flushed" else bits & ~(3 << shift) | rounding[name] << shift
    changed = bytearray(before)
    changed[place] = bits.to_bytes(4, sys.byteorder)
    _set_environment(bytes(changed))
    return before


@contextmanager
def mode(name: str) -> Iterator[None]:
    """Set a mode of :func:`set_mode`, and the old one again."""
    before = set_mode(name)
    try:
        yield
    finally:
        _set_environment(before)


_MODES: dict[str, tuple[int, int, dict[str, int]]] = {
    "x86_64": (0x8040, 13, {"nearest": 0, "down": 1, "up": 2, "zero": 3}),
    "aarch64": (1 << 24, 22, {"nearest": 0, "up": 1, "down": 2, "zero": 3}),
}
"""Of each machine the bits that flush denormals, and where which bits set the rounding mode."""


def _control_bits() -> slice | None:
    """Return where fenv_t holds MXCSR (x86-64) or FPCR (64-bit ARM); None elsewhere."""
    if sys.platform != "linux":
        return None
    return {"x86_64": slice(28, 32), "aarch64": slice(0, 4)}.get(platform.machine())


def _environment() -> bytes:
    """Return fenv_t, without the flags of exceptions that have occurred."""
    memory = ctypes.create_string_buffer(_FENV_BYTES)
    ctypes.CDLL(None).fegetenv(memory)
    found = bytearray(memory.raw)
    if platform.machine() == "x86_64":
        found[28] &= ~0x3F
    return bytes(found)


def _set_environment(memory: bytes) -> None:
    ctypes.CDLL(None).fesetenv(memory)


# --------------------------------------------------------------------------- the process


def _digest(value: Any) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=8).hexdigest()


def _numpy_random() -> str:
    name, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002  to see whether it changes
    return _digest((name, np.asarray(keys).tobytes(), rest))


_INTERNAL = 3 << 31  # signals 32 and 33: GNU libc handles them once there is a thread


def _signals() -> str:
    """Return this thread's blocked signals, and the process's ignored and handled ones."""
    path = Path("/proc/thread-self/status")
    if not path.exists():
        return ""
    pairs = (line.split(":\t") for line in path.read_text().splitlines() if ":\t" in line)
    masks = {name: value for name, value in pairs if name in ("SigBlk", "SigIgn", "SigCgt")}
    return " ".join(f"{name} {int(m, 16) & ~_INTERNAL:x}" for name, m in masks.items())


def _descriptor(number: int) -> list[Any]:
    """Return what a descriptor leads to and whether it blocks; nothing if it is closed."""
    try:
        target = os.readlink(f"/proc/self/fd/{number}") if sys.platform == "linux" else ""
        return [target, os.get_blocking(number)]
    except OSError:
        return []


def _is_for_some(one: Sequence[Any]) -> bool:
    """Whether a filter is for warnings with certain words, of certain modules, or of a library."""
    _, words, category, module, _ = one
    return words is not None or module is not None or category.__module__ != "builtins"


def _filters() -> Snapshot:
    return {f"filter of warnings: {it}": "there" for it in warnings.filters if _is_for_some(it)}


def _loggers() -> Snapshot:
    """Return the settings of the root logger and of those that somebody has asked for."""
    named = [("root", logging.root), *logging.root.manager.loggerDict.items()]
    return {
        f"logger {name}": str([it.level, it.disabled, it.propagate, it.handlers, it.filters])
        for name, it in named
        if isinstance(it, logging.Logger)
    }


def _umask() -> int:
    before = os.umask(0o077)
    os.umask(before)
    return before


def _environment_of_c() -> Iterator[tuple[str, str]]:
    """Yield the environment variables as the C library has them; Python keeps a copy."""
    if sys.platform != "linux":
        return
    lines = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    for place in itertools.count():
        line = lines[place]
        if line is None:
            return
        name, _, value = os.fsdecode(line).partition("=")
        yield name, value


def _members() -> Snapshot:
    """Return the public functions, classes and plain values of modules of Python and of NumPy, and
    the public members of their classes.
    """
    found: Snapshot = {}
    for module, of in [*sys.modules.items()]:
        if module.partition(".")[0] not in _EVERYBODYS:
            continue
        for name, member in [*getattr(of, "__dict__", {}).items()]:
            if name.startswith("_") and name != "__import__":
                continue
            if callable(member):
                own = getattr(member, "__module__", "")
                found[f"function {module}.{name}"] = f"{member!r} at {id(member):#x}{_OF}{own}"
            elif _is_plain(member):
                found[f"value {module}.{name}"] = repr(member)
            if isinstance(member, type) and member.__module__ == module:
                found |= _members_of(member)
    return found


_EVERYBODYS = sys.stdlib_module_names | {"numpy"}


def _is_plain(value: Any) -> bool:
    """Whether a value is a number or a string, or a tuple of these. None may be set when needed."""
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, (int, float, complex, str, bytes))


def _members_of(one: type) -> Snapshot:
    return {
        f"function {one.__module__}.{one.__qualname__}.{name}": f"at {id(member):#x}"
        for name, member in [*vars(one).items()]
        if not name.startswith("_") or name == "__init__"
    }


def _pickling() -> Snapshot:
    """Return by which function objects of a class are pickled, where one is registered."""
    return {f"pickling of {it}": str(by) for it, by in [*copyreg.dispatch_table.items()]}


def _of_process(name: str) -> str:
    """Return the content of a file that describes this process; empty where there is none."""
    path = Path("/proc/self", name)
    return path.read_text() if path.exists() else ""


def _status(*fields: str) -> list[str]:
    """Return fields of what the system says of this process; none where there is no such file."""
    return [it for it in _of_process("status").splitlines() if it.startswith(fields)]


def _prctl() -> dict[str, int]:
    """Return what Linux keeps for this process besides, by the numbers of <linux/prctl.h>."""
    prctl = ctypes.CDLL(None).prctl
    found = {name: prctl(number, 0, 0, 0, 0) for name, number in _PR_GET.items()}
    for name, number in _PR_GET_INT.items():
        value = ctypes.c_int()
        prctl(number, ctypes.byref(value), 0, 0, 0)
        found[name] = value.value
    return found


_PR_GET = {"may be dumped and traced": 3, "keeps capabilities": 7, "without huge pages": 42}
_PR_GET_INT = {"signal when the parent ends": 2, "adopts orphans": 37, "reads of the clock": 25}


def _wakeup() -> int:
    """Return the descriptor that signals are written to; only the main thread may ask."""
    if threading.current_thread() is not threading.main_thread():
        return -1
    number = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(number)
    return number


@lru_cache(maxsize=1)
def _audit_hooks() -> list[str]:
    """Return a list that grows with each audit hook that is added later: none can be looked up."""
    added: list[str] = []

    def note(event: str, _: tuple[Any, ...]) -> None:
        if event == "sys.addaudithook":
            added.append(event)

    sys.addaudithook(note)
    return added


def _tracing() -> list[Any]:
    """Return what is called as this thread, and new ones, run; and the tools that count events."""
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    tools = [] if monitoring is None else [monitoring.get_tool(i) for i in range(6)]
    return [sys.getprofile(), sys.gettrace(), threading.getprofile(), threading.gettrace(), *tools]


def _decimal() -> list[Any]:
    """Return the context of decimal numbers, without the flags of what has occurred."""
    context = decimal.getcontext()
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
    return [getattr(context, name) for name in names]


_LIMITS = [name for name in dir(resource) if name.startswith("RLIMIT_")]
_ERRORS = ("strict", "ignore", "replace", "backslashreplace", "surrogateescape")
_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

_STATE: dict[str, Callable[[], Any]] = {
    "floating-point control": control,
    "np.random's state": _numpy_random,
    "random's state": lambda: _digest(random.getstate()),
    "np.geterr()": np.geterr,
    "np.get_printoptions()": np.get_printoptions,
    "np.getbufsize()": np.getbufsize,
    "np.geterrcall()": np.geterrcall,
    "decimal's context": _decimal,
    "warnings.filters": lambda: [it for it in warnings.filters if not _is_for_some(it)],
    "locale": lambda: locale.setlocale(locale.LC_ALL),
    "os.getcwd()": os.getcwd,
    "umask": _umask,
    "signals": _signals,
    "processors": lambda: sorted(os.sched_getaffinity(0)),
    "niceness": lambda: os.getpriority(os.PRIO_PROCESS, 0),
    "limits": lambda: [resource.getrlimit(getattr(resource, name)) for name in _LIMITS],
    "timers": lambda: [signal.getitimer(which) for which in _TIMERS],
    "standard input, output and errors": lambda: [_descriptor(number) for number in range(3)],
    "logging": lambda: logging.root.manager.disable,
    "multiprocessing": lambda: multiprocessing.get_start_method(allow_none=True),
    "faulthandler": faulthandler.is_enabled,
    "tracemalloc": tracemalloc.is_tracing,
    "handlers of coding errors": lambda: [codecs.lookup_error(name) for name in _ERRORS],
    "sys.stdout": lambda: sys.stdout,
    "sys.stderr": lambda: sys.stderr,
    "sys.stdin": lambda: sys.stdin,
    "sys.path": lambda: sys.path,
    "sys.argv": lambda: sys.argv,
    "sys.warnoptions": lambda: sys.warnoptions,
    "profiling and tracing": _tracing,
    "import hooks": lambda: (sys.meta_path, sys.path_hooks),
    "audit hooks": lambda: len(_audit_hooks()),
    "hooks of generators": lambda: (
        sys.get_asyncgen_hooks(),
        sys.get_coroutine_origin_tracking_depth(),
    ),
    "stack of new threads": threading.stack_size,
    "name": lambda: _of_process("comm"),
    "place in the queue for lack of memory": lambda: _of_process("oom_score_adj"),
    "slack of timers": lambda: _of_process("timerslack_ns"),
    "what a core dump holds": lambda: _of_process("coredump_filter"),
    "prctl": _prctl,
    "descriptor that signals wake": _wakeup,
    "rights": lambda: _status("Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp:", "CapEff", "CapBnd"),
    "scheduling": lambda: (os.sched_getscheduler(0), os.sched_getparam(0)),
    "group and session": lambda: (os.getpgrp(), os.getsid(0)),
    "recursion limit": sys.getrecursionlimit,
    "digits of converted numbers": getattr(sys, "get_int_max_str_digits", lambda: 0),
    "switch interval": sys.getswitchinterval,
    "garbage collection": lambda: (
        *(gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.get_freeze_count()),
        gc.callbacks,
    ),
    "default time-out of sockets": socket.getdefaulttimeout,
}
"""What is looked at besides environment variables, handlers of signals, and libraries."""
if sys.platform != "linux":
    del _STATE["processors"], _STATE["scheduling"], _STATE["prctl"]


# --------------------------------------------------------------------------- libraries

_COUNTING = re.compile(r"/lib(\w*openblas|gomp|omp|iomp5|mkl_rt)[\w.-]*\.so[\d.]*$")
_COUNTS = (
    *("omp_get_max_threads", "omp_get_dynamic", "MKL_Get_Max_Threads"),
    *(
        f"{prefix}openblas_get_num_threads{suffix}"
        for prefix in ("", "scipy_")
        for suffix in ("", "64_")
    ),
)


def _libraries() -> list[str]:
    """List the loaded libraries that have a number of threads."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    paths = {line.split(maxsplit=5)[5] for line in maps.read_text().splitlines() if "/lib" in line}
    return sorted(path for path in paths if _COUNTING.search(path))


def _thread_counts(path: str) -> Snapshot:
    library = ctypes.CDLL(path)
    name = Path(path).name
    return {
        f"threads of {name} ({function})": str(getattr(library, function)())
        for function in _COUNTS
        if hasattr(library, function)
    }


def _torch() -> Snapshot:
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_rng_state"):
        return {}
    return {
        "torch.get_num_threads()": str(torch.get_num_threads()),
        "torch.get_default_dtype()": str(torch.get_default_dtype()),
        "torch.get_default_device()": str(torch.get_default_device()),
        "torch.is_grad_enabled()": str(torch.is_grad_enabled()),
        "torch.is_inference_mode_enabled()": str(torch.is_inference_mode_enabled()),
        "torch.get_num_interop_threads()": str(torch.get_num_interop_threads()),
        "torch.is_anomaly_enabled()": str(torch.is_anomaly_enabled()),
        "torch.is_autocast_enabled('cpu')": str(torch.is_autocast_enabled("cpu")),
        **_backends(torch),
        "torch.get_rng_state()": _digest(torch.get_rng_state().tolist()),
        "torch.get_float32_matmul_precision()": str(torch.get_float32_matmul_precision()),
        "torch.are_deterministic_algorithms_enabled()": str(
            torch.are_deterministic_algorithms_enabled()
        ),
    }


def _backends(torch: Any) -> Snapshot:
    """Return the settings of the libraries that torch computes with."""
    private = torch._C
    return {
        f"torch.backends: {name}": str(getattr(private, name)())
        for name in (
            "_get_mkldnn_enabled",
            "_get_nnpack_enabled",
            "_get_cudnn_enabled",
            "_get_cudnn_benchmark",
            "_get_cudnn_deterministic",
            "_get_deterministic_algorithms_warn_only",
        )
        if hasattr(private, name)
    }
