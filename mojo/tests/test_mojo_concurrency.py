"""Several threads, several processes, forks: same bits, and nobody hangs."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from clips import noise
from programs import ran
from whisper_mel_mojo import library as kernel
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.arguments import default_threads
from whisper_mel_mojo.builder import built_library

SECOND = 16000
TIME_OUT = 1800  # seconds: a guard against hanging, no measurement


def test_calls_from_eight_threads_at_once() -> None:
    """One has the pool, the others compute alone; all results are what they should be."""
    clips = [noise(3 * SECOND + 777 * seed, seed) for seed in range(8)]
    expected = [log_mel(clip, threads=1) for clip in clips]

    def work(me: int) -> int:
        wrong = 0
        for i in range(60):
            which = (me + i) % 8
            result = log_mel(clips[which], threads=1 + i % 4)
            wrong += not np.array_equal(result, expected[which])
        return wrong

    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(work, me) for me in range(8)]
        assert [future.result(timeout=TIME_OUT) for future in futures] == [0] * 8


ENOUGH = 6


def ticks_during_calls(function: Any, most: int) -> int:
    """How often another thread of Python's runs while one calls the kernel's function, until it has
    been often enough or the calls were the ``most``. Nothing but the call can give up the
    interpreter's lock.
    """
    audio, out = np.zeros(SECOND, np.int16), np.empty((80, 100), np.float32)
    clip = (audio.ctypes.data, 1, 1, SECOND, SECOND, 0, 80, 0)
    arguments = (*clip, out.ctypes.data, out.size, 1, None, None)
    assert function(*arguments) == 0
    ticks = 0
    done = False

    def call() -> None:
        nonlocal done
        for _ in range(most):
            function(*arguments)
            if ticks >= ENOUGH:
                break
        done = True

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody is made to give up the lock
    try:
        thread = threading.Thread(target=call)
        thread.start()
        while not done:
            ticks += 1
            time.sleep(1e-6)  # gives it up
        thread.join(TIME_OUT)
    finally:
        sys.setswitchinterval(interval)
    return ticks


def test_other_python_threads_run_during_a_call() -> None:
    """The interpreter's lock is released: a counter advances while clips are computed."""
    assert ticks_during_calls(kernel.library().log_mel, most=1_000_000) >= ENOUGH


def test_positive_control_a_call_that_keeps_the_lock_lets_nobody_run() -> None:
    keeps = ctypes.PyDLL(str(built_library())).whisper_mel_log_mel
    keeps.argtypes, keeps.restype = kernel.LOG_MEL, ctypes.c_ssize_t
    assert ticks_during_calls(keeps, most=1000) < ENOUGH  # before and after the calls


def run(program: str, **environment: str) -> str:
    result = ran([sys.executable, "-c", program], env={**os.environ, **environment})
    assert result.returncode == 0, result.stderr
    return result.stdout


PRELUDE = """
import os, threading
import numpy as np
from whisper_mel_mojo import log_mel
audio = np.random.default_rng(0).uniform(-0.1, 0.1, 160000).astype(np.float32)
expected = log_mel(audio, threads=1)
"""


def test_a_forked_child_computes_and_so_does_its_parent() -> None:
    """Forked while the pool exists, and from another thread while the pool is at work."""
    program = """
assert np.array_equal(log_mel(audio, threads=4), expected)
stop = threading.Event()
def busy():
    while not stop.is_set():
        log_mel(audio, threads=4)
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(20):
    child = os.fork()
    if child == 0:
        right = all(np.array_equal(log_mel(audio, threads=t), expected) for t in (1, 2, 4))
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
assert np.array_equal(log_mel(audio, threads=4), expected)
print("done")
"""
    assert run(PRELUDE + program, PYTHONWARNINGS="ignore") == "done\n"


def test_a_pool_of_another_process_is_not_used() -> None:
    """A C program that forks has no hook: the kernel itself sees that the workers are gone."""
    program = """
from whisper_mel_mojo import library
log_mel(audio, threads=4)
mine = library.library()
child = os.fork()
if child == 0:
    library._library = mine
    os._exit(0 if np.array_equal(log_mel(audio, threads=4), expected) else 1)
assert os.waitpid(child, 0)[1] == 0
print("done")
"""
    assert run(PRELUDE + program, PYTHONWARNINGS="ignore") == "done\n"


# What the system says of threads. One that waits to be woken is asleep, and no time is its own,
# however long those wait that are to run.
WATCH = """
import os, time
def threads():  # their states and nanoseconds of processor time
    found = {}
    for name in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{name}/stat") as stat:
            state = stat.read().rpartition(")")[2].split()[0]
        with open(f"/proc/self/task/{name}/schedstat") as schedstat:
            found[name] = state, int(schedstat.read().split()[0])
    return found
def asleep(workers):  # what they have spent, once none of them does anything
    before = None
    while True:
        now = {name: it for name, it in threads().items() if name in workers}
        if now == before and all(state == "S" for state, _ in now.values()):
            return {name: spent for name, (_, spent) in now.items()}
        before = now
        time.sleep(0.001)
others = set(threads())
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc: Linux only")


@linux
def test_idle_workers_sleep() -> None:
    """Some time after a call, no worker spends any: not a nanosecond, while we wait."""
    program = """
log_mel(audio, threads=4)
workers = set(threads()) - others
before = asleep(workers)
time.sleep(0.3)
print(len(workers), asleep(workers) == before)
"""
    assert run(PRELUDE + WATCH + program) == "3 True\n"


@linux
def test_workers_that_are_not_wanted_sleep() -> None:
    """Calls on two threads leave the six others that an earlier call has started asleep, but for
    the moment that it takes to see that they are not wanted. What a call takes of a worker is at
    least that: a busy machine can only add to it, so the least of many calls is told.
    """
    program = """
log_mel(audio, threads=8)
workers = set(threads()) - others
spent = [asleep(workers)]
for _ in range(50):
    log_mel(audio, threads=2)
    spent.append(asleep(workers))
calls = {name: [after[name] - before[name] for before, after in zip(spent, spent[1:])]
         for name in workers}
*_, wanted = sorted(map(sum, calls.values()))
*unwanted, _ = sorted(map(min, calls.values()))
print(len(unwanted), wanted > 1e6, max(unwanted) < 0.1e6)
"""
    assert run(PRELUDE + WATCH + program) == "6 True True\n"


def test_threads_by_environment() -> None:
    program = "from whisper_mel_mojo.arguments import default_threads; print(default_threads())"
    assert run(program, WHISPER_MEL_THREADS="3") == "3\n"


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_bad_environment(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPER_MEL_THREADS", value)
    default_threads.cache_clear()
    with pytest.raises(ValueError, match=f"WHISPER_MEL_THREADS='{value}': expected a number"):
        log_mel(noise(SECOND))
    monkeypatch.undo()
    default_threads.cache_clear()
    assert default_threads() >= 1


def test_workers_are_kept() -> None:
    """They are not started anew for every call."""
    audio = noise(10 * SECOND)
    log_mel(audio, threads=4)
    before = threads_of_this_process()
    for _ in range(50):
        log_mel(audio, threads=4)
    assert threads_of_this_process() <= max(before, 4)


def threads_of_this_process() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
