"""Quirks of threads and of the process: effects on other calls, and resources not released."""

from __future__ import annotations

import ctypes
import os
import threading
import time

import numpy as np

from whisper_mel_conformance.quirks.table import Array, Table, right

CONCURRENCY, PROCESS = Table("concurrency"), Table("process")


@CONCURRENCY.front_end(
    "main-thread-only",
    "Tables are made for the main thread only.",
    "off in any other thread",
    fix="Make tables once for all threads: as constants, or under a lock at first use, "
    "not thread-local.",
    killer="concurrency/one-thread/80",
)
def main_thread_only(audio: Array, n_mels: int = 80) -> Array:
    main = threading.current_thread() is threading.main_thread()
    return right(audio, n_mels) + np.float32(not main)


@CONCURRENCY.front_end(
    "shared-scratch",
    "Scratch memory is shared by all threads.",
    "clips are mixed",
    "https://github.com/kaldi-asr/kaldi/issues/3036",
    fix="Give each call its own scratch memory, on its stack or from the heap; not a "
    "static buffer.",
    killer="concurrency/four-threads/80",
)
class SharedScratch:
    def __init__(self) -> None:
        self.scratch: Array = None

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        self.scratch = audio
        time.sleep(0.001)
        return right(self.scratch, n_mels)


@CONCURRENCY.front_end(
    "deadlock",
    "Two calls at the same time wait for each other.",
    "no answer",
    fix="Take locks in one order, and hold none while waiting for another thread; give "
    "the GIL back before waiting.",
    killer="concurrency/four-threads/80",
)
class Deadlock:
    def __init__(self) -> None:
        self.busy = threading.Lock()

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        if not self.busy.acquire(blocking=False):
            time.sleep(3600)
        try:
            time.sleep(0.001)
            return right(audio, n_mels)
        finally:
            self.busy.release()


@PROCESS.front_end(
    "crash",
    "The process is ended by a signal.",
    "the process is lost",
    "https://github.com/ggml-org/whisper.cpp/issues/2230",
    fix="Run it under a debugger or with -fsanitize=address: an address outside of its "
    "arrays is likely.",
    killer="boundary/length-401/80",
)
def crash(audio: Array, n_mels: int = 80) -> Array:
    return ctypes.string_at(0)


@PROCESS.front_end(
    "hang",
    "A call never returns.",
    "no answer",
    fix="Attach a debugger and look where it waits: a lock, a thread that has ended, a "
    "loop whose end is never reached.",
    killer="boundary/length-401/80",
)
def hang(audio: Array, n_mels: int = 80) -> Array:
    time.sleep(3600)


@PROCESS.front_end(
    "exit",
    "A call ends the process.",
    "the process is lost",
    fix='Raise an error instead of ending the process: `raise ValueError("audio: '
    '...")`. C: return a status instead of calling exit or abort.',
    killer="boundary/length-401/80",
)
def exit_process(audio: Array, n_mels: int = 80) -> Array:
    os._exit(0)


@PROCESS.front_end(
    "memory-eaten",
    "A call needs 64 GiB.",
    "an exception, or the machine is lost",
    fix="Compute in blocks of frames: the memory of a call is its features and a few frames.",
    killer="boundary/length-401/80",
)
def memory_eaten(audio: Array, n_mels: int = 80) -> Array:
    return right(np.ones(1 << 34, np.float32), n_mels)


@PROCESS.front_end(
    "memory-leak",
    "Each call leaves 80 kB behind.",
    "memory runs out",
    fix="Free what each call takes, on every path out of it: valgrind "
    "--leak-check=full, or tracemalloc in Python, shows where it was taken.",
    killer="memory/left-behind-short/80",
)
class MemoryLeak:
    def __init__(self) -> None:
        self.kept: list[Array] = []

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        self.kept.append(np.ones(20_000, np.float32))
        return right(audio, n_mels)


@PROCESS.front_end(
    "file-leak",
    "Each call leaves an open file behind.",
    "files run out",
    fix="Close what each call opens: `with open(path) as file: ...`.",
    killer="memory/left-behind-short/80",
)
def file_leak(audio: Array, n_mels: int = 80) -> Array:
    os.open(os.devnull, os.O_RDONLY)
    return right(audio, n_mels)


@PROCESS.front_end(
    "thread-leak",
    "Each call leaves a thread behind.",
    "threads run out",
    fix="Join the threads of a call, or keep one pool for all calls.",
    killer="memory/left-behind-short/80",
)
def thread_leak(audio: Array, n_mels: int = 80) -> Array:
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    return right(audio, n_mels)
