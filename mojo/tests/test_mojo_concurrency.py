"""Several threads, several processes, forks: same bits, and nobody hangs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.features import default_threads

SECOND = 16000
TIME_OUT = 60  # seconds: a guard against hanging, no measurement


def noise(n: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).uniform(-0.1, 0.1, n).astype(np.float32)


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


def test_other_python_threads_run_during_a_call() -> None:
    """The interpreter's lock is released: a counter advances while a long clip is computed."""
    audio = np.zeros(1200 * SECOND, np.int16)
    out = np.empty((80, 1200 * 100), np.float32)
    log_mel(audio, threads=1, out=out)
    ticks = 0
    done = threading.Event()

    def call() -> None:
        log_mel(audio, threads=1, out=out)
        done.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody is made to give up the lock
    try:
        thread = threading.Thread(target=call)
        thread.start()
        while not done.is_set():
            ticks += 1
            time.sleep(0.0001)  # gives it up
        thread.join(TIME_OUT)
    finally:
        sys.setswitchinterval(interval)
    assert ticks > 5


def run(program: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=TIME_OUT,
        env={**os.environ, **environment},
        check=False,
    )
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


def test_idle_workers_sleep() -> None:
    """After a call no time is spent: processor seconds stand still while we wait."""
    program = """
import time
log_mel(audio, threads=4)
time.sleep(0.2)
before = time.process_time()
time.sleep(1)
print(time.process_time() - before < 0.2)
"""
    assert run(PRELUDE + program) == "True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc: Linux only")
def test_workers_that_are_not_wanted_sleep() -> None:
    """Calls on two threads leave the six others that an earlier call has started asleep."""
    program = """
import glob, os, time
def spent():  # nanoseconds of processor time, by thread
    return {p: int(open(p).read().split()[0]) for p in glob.glob("/proc/self/task/*/schedstat")}
others = set(spent())
log_mel(audio, threads=8)
workers = set(spent()) - others
time.sleep(0.1)
before = spent()
for _ in range(100):
    log_mel(audio, threads=2)
    time.sleep(0.002)
after = spent()
used = sorted(after[p] - before[p] for p in workers)
print(len(used), used[-1] > 2e6, sum(used[:-1]) < 0.1e6 * 100 * 6)
"""
    assert run(PRELUDE + program) == "7 True True\n"


def test_threads_by_environment() -> None:
    program = "from whisper_mel_mojo.features import default_threads; print(default_threads())"
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
