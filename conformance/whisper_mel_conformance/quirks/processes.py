"""Quirks of threads and of the process: effects on other calls, and resources not released."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from whisper_mel_conformance.quirks.table import Array, Table, right

CONCURRENCY, PROCESS = Table("concurrency"), Table("process")

_SINCE = "2026-11-27"
_FREE = (
    "Free what each call takes, on every path out of it: valgrind "
    "--leak-check=full, or tracemalloc in Python, shows where it was taken."
)


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


@CONCURRENCY.front_end(
    "thread-first-call-wrong",
    "A thread's first call is made before its tables are.",
    "the first clip of each thread is off",
    fix="Make the tables once for all threads, before the first call or under a lock;"
    " not thread-local.",
    killer="concurrency/one-thread/80",
    since=_SINCE,
)
class ThreadFirstCallWrong:
    def __init__(self) -> None:
        self.mine = threading.local()

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        is_first = not hasattr(self.mine, "called")
        self.mine.called = True
        return right(audio, n_mels) + np.float32(is_first)


@CONCURRENCY.front_end(
    "sixteen-threads",
    "There are tables for sixteen threads at a time.",
    "a seventeenth thread's clips are off",
    fix="Make tables once for all threads, or scratch memory for each call; no array "
    "with one entry a thread.",
    killer="concurrency/forty-threads",
    since=_SINCE,
)
class SixteenThreads:
    def __init__(self) -> None:
        self.inside: list[None] = []

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        self.inside.append(None)
        time.sleep(0.05)  # so that others come in
        is_late = len(self.inside) > 16
        y = right(audio, n_mels)
        self.inside.pop()
        return y + np.float32(is_late)


@CONCURRENCY.front_end(
    "pool-not-in-child",
    "Calls are computed by a pool of threads, which a forked child does not have.",
    "no answer there",
    "https://github.com/librosa/librosa/issues/381",
    "https://github.com/lhotse-speech/lhotse/issues/559",
    fix="Make the pool anew in a forked child: "
    "`os.register_at_fork(after_in_child=make_pool)`. C: `pthread_atfork(NULL, "
    "NULL, make_pool);`.",
    killer="concurrency/fork/80",
    since=_SINCE,
)
class PoolNotInChild:
    def __init__(self) -> None:
        self.pool: ThreadPoolExecutor | None = None

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        if self.pool is None:
            self.pool = ThreadPoolExecutor(1)  # it never makes another thread in a child
        return self.pool.submit(right, audio, n_mels).result()


def library_threads() -> int:
    """Return how many threads a library for parallel loops would use."""
    return int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)


@CONCURRENCY.front_end(
    "library-threads-not-in-child",
    "A library computes on as many threads as OMP_NUM_THREADS says, or the machine has CPUs; "
    "a forked child waits for them (GNU OpenMP, and PyTorch with it).",
    "no answer there, except where one thread is set",
    "https://github.com/pytorch/pytorch/issues/89693",
    "https://github.com/pytorch/pytorch/issues/21956",
    fix="In a forked child compute on the calling thread alone: "
    "`os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))`. C: "
    "`pthread_atfork(NULL, NULL, one_thread);` with `#pragma omp parallel num_threads(n)`.",
    killer="concurrency/fork/80",
    since=_SINCE,
)
class LibraryThreadsNotInChild(PoolNotInChild):
    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        alone = library_threads() == 1
        return right(audio, n_mels) if alone else super().__call__(audio, n_mels)


@CONCURRENCY.front_end(
    "asked-threads-not-in-child",
    "A pool is made at the first call that asks for threads; a forked child does not have it.",
    "no answer there to calls that ask for threads",
    fix="Make the pool anew in a forked child: `os.register_at_fork(after_in_child=make_pool)`. C: "
    "`pthread_atfork(NULL, NULL, make_pool);`.",
    killer="concurrency/fork-beside-two-threads-each",
    since="2026-11-28",
)
class AskedThreadsNotInChild(PoolNotInChild):
    def __call__(self, audio: Array, n_mels: int = 80, *, threads: int | None = None) -> Array:
        alone = threads in (None, 1)
        return right(audio, n_mels) if alone else super().__call__(audio, n_mels)


@CONCURRENCY.front_end(
    "pool-not-in-child-of-child",
    "A pool is made anew in a child of the process that made it first, but not in a child of that.",
    "no answer in a data loader that a forked process starts",
    fix="Make the pool anew in each forked child: `os.register_at_fork(after_in_child=make_pool)`. "
    "C: `pthread_atfork(NULL, NULL, make_pool);`.",
    killer="concurrency/fork-in-a-child",
    since="2026-11-28",
)
class PoolNotInChildOfChild(PoolNotInChild):
    def __init__(self) -> None:
        super().__init__()
        self.owner = os.getpid()

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        if self.owner not in (0, os.getpid()):
            self.pool, self.owner = None, 0  # and is made anew; its owner is not noted again
        return super().__call__(audio, n_mels)


@CONCURRENCY.front_end(
    "asked-threads-forget-maximum",
    "Calls that ask for threads have a path of their own, which takes the clip's maximum.",
    "levels are off there where another maximum is asked for",
    fix="Give every path the maximum that is asked for: `np.maximum(log, maximum - 8)`.",
    killer="maximum/1.5-two-threads/80",
    since="2026-11-28",
)
class AskedThreadsForgetMaximum:
    def __call__(
        self,
        audio: Array,
        n_mels: int = 80,
        *,
        maximum: Any = "clip",
        threads: int | None = None,
    ) -> Array:
        return right(audio, n_mels, maximum=maximum if threads in (None, 1) else "clip")


@CONCURRENCY.front_end(
    "part-for-each-thread",
    "A clip is cut into a part for each thread of a library, with a maximum and edges of its own.",
    "levels and seams are off, except where one thread is set",
    fix="Share out frames, not samples, each of which sees the whole clip, and take one maximum: "
    "`np.max(maxima)`. C: `#pragma omp parallel for reduction(max : peak)`.",
    killer="determinism/repeated/80",
    since=_SINCE,
)
def part_for_each_thread(audio: Array, n_mels: int = 80) -> Array:
    frames = len(audio) // 160
    parts = max(1, min(library_threads(), frames // 10))
    edges = [160 * (frames * part // parts) for part in range(parts)]
    clips = zip(edges, [*edges[1:], len(audio)], strict=True)
    return np.concatenate([right(audio[start:end], n_mels) for start, end in clips], axis=-1)


@CONCURRENCY.front_end(
    "lock-held-at-fork",
    "Calls take turns by a lock, which a forked child inherits as it is.",
    "no answer there if another thread was in a call",
    fix="Use no lock, or hold it while the process forks: "
    "`os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, "
    "after_in_child=lock.release)`.",
    killer="concurrency/fork-beside-calls/80",
    since=_SINCE,
)
class LockHeldAtFork:
    def __init__(self) -> None:
        self.turn = threading.Lock()

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        with self.turn:
            time.sleep(0.1)
            return right(audio, n_mels)


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
    fix=_FREE,
    killer="memory/left-behind-short/80",
)
class MemoryLeak:
    SAMPLES = 20_000

    def __init__(self) -> None:
        self.kept: list[Array] = []

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        self.kept.append(np.ones(self.SAMPLES, np.float32))
        return right(audio, n_mels)


@PROCESS.front_end(
    "small-leak",
    "Each call leaves 2,000 bytes behind.",
    "memory runs out, after days",
    fix=_FREE,
    killer="memory/left-behind-short/80",
    since=_SINCE,
)
class SmallLeak(MemoryLeak):
    SAMPLES = 500


@PROCESS.front_end(
    "every-clip-kept",
    "The features of every clip are kept, in a cache without an end.",
    "memory grows with each clip that has not been heard before",
    fix="Limit what is kept: `functools.lru_cache(maxsize=16)`; or keep nothing.",
    killer="memory/left-behind-by-other-clips/80",
    since="2026-11-28",
)
class EveryClipKept:
    def __init__(self) -> None:
        self.kept: dict[Any, Array] = {}

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        key = (audio.tobytes(), audio.dtype.str, audio.shape, n_mels)
        if key not in self.kept:
            self.kept[key] = right(audio, n_mels)
        return self.kept[key].copy()


@PROCESS.front_end(
    "tables-for-each-length",
    "Tables are made for each number of samples, and kept for all that there have been.",
    "memory grows with each clip of another length",
    fix="Limit what is kept: `functools.lru_cache(maxsize=16)`; or keep nothing that depends on "
    "the number of samples.",
    killer="memory/left-behind-by-other-lengths",
    since="2026-11-28",
)
class TablesForEachLength:
    def __init__(self) -> None:
        self.places: dict[int, Array] = {}

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        if audio.size not in self.places:
            self.places[audio.size] = np.arange(audio.size)
        return right(audio[self.places[audio.size]], n_mels)


@PROCESS.front_end(
    "leak-by-int16",
    "Each call with int16 audio leaves 20 kB behind: those of the converted clip.",
    "memory runs out where audio is int16",
    fix=_FREE,
    killer="memory/left-behind-int16",
    since=_SINCE,
)
class LeakByInt16:
    capabilities = {"dtypes": ("float32", "int16")}

    def __init__(self) -> None:
        self.kept: list[Array] = []

    def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
        if audio.dtype == np.int16:
            self.kept.append(np.ones(5000, np.float32))
        return right(audio, n_mels)


@PROCESS.front_end(
    "leak-by-options",
    "Each call with an option, a batch, float64 audio or samples that lie apart leaves 20 kB "
    "behind: those of its own path.",
    "memory runs out where the path is used",
    fix=_FREE,
    killer="memory/left-behind-padded",
    since="2026-11-28",
)
class LeakByOptions:
    capabilities = {
        "dtypes": ("float32", "float64"),
        "out_dtypes": ("float32", "float16"),
        "batch": True,
    }

    def __init__(self) -> None:
        self.kept: list[Array] = []

    def log_mel(
        self,
        audio: Array,
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: str | None = None,
        maximum: Any = "clip",
        dtype: str = "float32",
        threads: int | None = None,
    ) -> Array:
        asked = (audio.dtype.name, audio.ndim, pad_to, smoothing, maximum, dtype, threads)
        if asked != ("float32", 1, None, None, "clip", "float32", None) or not audio.flags.forc:
            self.kept.append(np.ones(5000, np.float32))
        options = {"pad_to": pad_to, "smoothing": smoothing, "maximum": maximum}
        clips = [right(clip, n_mels, **options) for clip in np.atleast_2d(audio)]
        return (np.stack(clips) if audio.ndim == 2 else clips[0]).astype(dtype)


@PROCESS.front_end(
    "temporary-file-left",
    "Each call writes its clip to a temporary file, which stays.",
    "the disk fills up",
    fix="Remove the file whatever happens: `tempfile.TemporaryDirectory()` in a with statement.",
    killer="memory/left-behind-short/80",
    since=_SINCE,
)
def temporary_file_left(audio: Array, n_mels: int = 80) -> Array:
    file, _ = tempfile.mkstemp()
    os.write(file, audio.tobytes())
    os.close(file)
    return right(audio, n_mels)


@PROCESS.front_end(
    "file-in-working-directory",
    "The first call writes its tables to a file in the working directory, for the next process.",
    "files in users' folders; an error where nobody may write",
    fix="Keep such files in a folder of your own, such as `os.path.expanduser('~/.cache/mine')`, "
    "or none.",
    killer="memory/files-left",
    since=_SINCE,
)
def file_in_working_directory(audio: Array, n_mels: int = 80) -> Array:
    with contextlib.suppress(OSError), open("mel_filters.npz", "xb") as file:
        np.savez(file, bands=n_mels)
    return right(audio, n_mels)


@PROCESS.front_end(
    "leak-by-errors",
    "Each call that is refused leaves 20 kB behind.",
    "memory runs out where much audio is broken",
    fix="Free on the way out of an error, too: a finally clause, or one exit for all paths.",
    killer="memory/left-behind-by-errors",
    since=_SINCE,
)
class LeakByErrors(MemoryLeak):
    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        try:
            return right(audio, n_mels)
        except ValueError:
            self.kept.append(np.ones(5000, np.float32))
            raise


@PROCESS.front_end(
    "leak-by-threads",
    "Each thread that calls leaves its scratch memory behind, 20 kB.",
    "memory runs out in servers",
    fix="Free what is kept for a thread when it ends, or take scratch memory for each"
    " call. C: `pthread_key_create(&key, free);`.",
    killer="memory/left-behind-by-threads",
    since=_SINCE,
)
class LeakByThreads(MemoryLeak):
    def __init__(self) -> None:
        super().__init__()
        self.mine = threading.local()

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        if not hasattr(self.mine, "scratch"):
            self.mine.scratch = np.ones(5000, np.float32)
            self.kept.append(self.mine.scratch)
        return right(audio, n_mels)


@PROCESS.front_end(
    "file-leak-now-and-then",
    "Every tenth call leaves an open file behind.",
    "files run out",
    fix="Close files on every path, also where a cache is filled: `with open(path) as file: ...`.",
    killer="memory/left-behind-short/80",
    since=_SINCE,
)
class FileLeakNowAndThen:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        self.calls += 1
        if self.calls % 10 == 0:
            os.open(os.devnull, os.O_RDONLY)
        return right(audio, n_mels)


@PROCESS.front_end(
    "process-leak",
    "Each call starts a process that goes on.",
    "processes run out",
    fix="End and reap what each call starts: `process.wait()`; or keep one process for all calls.",
    killer="memory/left-behind-short/80",
    since=_SINCE,
)
def process_leak(audio: Array, n_mels: int = 80) -> Array:
    subprocess.Popen(["sleep", "3600"])
    return right(audio, n_mels)


@PROCESS.front_end(
    "daemon-left",
    "The first call starts a daemon: a process of its own session whose parent ends.",
    "it goes on when everything else has ended",
    fix="Start no process that outlives its parent: leave out "
    "`start_new_session=True`, and end it when the parent ends.",
    killer="memory/daemons",
    since=_SINCE,
)
class DaemonLeft:
    def __init__(self) -> None:
        self.is_started = False

    def __call__(self, audio: Array, n_mels: int = 80) -> Array:
        if not self.is_started:
            self.is_started = True
            subprocess.run(["sh", "-c", "setsid sleep 3600 & exit 0"], check=True)
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
