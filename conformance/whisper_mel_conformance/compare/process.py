"""Processes that measure, each for one front-end, and what such a process tells of itself.

Each front-end has a process of its own, because some change the behaviour of others, and because
numbers of threads and settings of malloc are fixed when a process begins. It reads a task, one JSON
object, from standard input and writes results, one JSON object a line, to standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from whisper_mel_conformance.frontend.client import THREAD_SETTINGS

Result = dict[str, Any]

_MALLOC = {
    "kept": {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"},
    "default": {},
    "fresh": {"MALLOC_MMAP_THRESHOLD_": "65536"},
}
"""glibc's settings: released memory is kept, as the system has it, or every large array is new."""
_BOOTSTRAP = (
    "import runpy, sys; sys.path[:] = {path!r}; runpy.run_module({module!r}, run_name='__main__')"
)


def run_worker(
    module: str, title: str, task: dict[str, Any], malloc: str = "kept"
) -> Iterator[Result]:
    """Run a module in a process of its own; yield its results (:func:`take_task`).

    ``task["threads"]`` is its number of CPUs. It imports from the same ``sys.path``. Raises
    ``RuntimeError``, with ``title``, if it ends with an error.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    for setting in _MALLOC["kept"]:
        environment.pop(setting, None)
    environment.update(dict.fromkeys(THREAD_SETTINGS, str(task["threads"])))
    environment.update(_MALLOC[malloc])
    process = subprocess.Popen(
        [sys.executable, "-c", _BOOTSTRAP.format(path=sys.path, module=module)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    with process:
        with contextlib.suppress(BrokenPipeError):  # it ended at once: its status says so
            process.stdin.write(json.dumps(task))
            process.stdin.close()
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode != 0:
        raise RuntimeError(f"{title} ended with status {process.returncode}")


def take_task() -> tuple[dict[str, Any], Callable[[Result], None]]:
    """Read the task of this process, and return it with the function that reports a result."""
    task = json.load(sys.stdin)
    # Whatever a front-end prints must not mix with the results.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))[-task["threads"] :]
        os.sched_setaffinity(0, cpus)
    return task, lambda result: print(json.dumps(result), file=results, flush=True)


def reset_peak() -> bool:
    """Reset VmHWM; return False where the system cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident(name: str) -> int:
    """Return this process's memory in bytes: now (``VmRSS``) or at most (``VmHWM``)."""
    found = re.search(name + r":\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) << 10
