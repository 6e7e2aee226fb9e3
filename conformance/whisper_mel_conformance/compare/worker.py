"""A process that measures one path from samples to features."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import random
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER

from whisper_mel_conformance.compare.pairing import measure
from whisper_mel_conformance.compare.process import Result, reset_peak, resident, take_task
from whisper_mel_conformance.frontend.load import Loaded, load

Array = NDArray[Any]

ABSENT = "is not installed"
"""How the reason begins why a front-end cannot be imported."""


def bind(front_end: Loaded, audio: Array, n_mels: int) -> Callable[[], Any]:
    """Return the call as users make it, on one thread; if a front-end always pads, pass the length.

    Raises ``NotImplementedError`` if the front-end cannot do it, or would fill up or cut the clip.
    """
    able = front_end.capabilities
    if audio.size % able.multiple_of:
        raise NotImplementedError(f"takes whole multiples of {able.multiple_of:,} samples")
    if audio.size > (able.max_samples or audio.size):
        raise NotImplementedError(f"takes {able.max_samples:,} samples at most")
    options: dict[str, Any] = {"threads": 1} if able.threads else {}
    call = functools.partial(front_end.call, audio, n_mels, **options)
    try:
        call()
    except NotImplementedError:
        if not able.pad_to:
            raise
        call = functools.partial(call, pad_to=audio.size)
        call()
    return call


def give_back() -> None:
    """Return free memory to the system (glibc), so that later allocations show."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def compare(task: dict[str, Any]) -> Result:
    """Measure memory while nothing but the path is in this process; then time, beside another.

    ``task`` has ``path`` and ``beside`` (the sources of two front-ends), ``audio`` and ``features``
    (NumPy files to read and to write), ``n_mels``, ``budget`` (seconds) and ``device`` (true if
    there is one: features go there).
    """
    audio, n_mels = np.load(task["audio"]), task["n_mels"]
    # A second of audio first, so that imports and compilation of a first call do not count.
    front_end = load(task["path"])
    bind(front_end, audio[: max(WHISPER.sample_rate, front_end.capabilities.multiple_of)], n_mels)
    give_back()
    before = resident("VmRSS") if reset_peak() else None
    call = bind(front_end, audio, n_mels)
    result: Result = {"host_peak": None, "host_rise": None, "copies": None, "gpu_rise": None}
    if before is not None and not front_end.capabilities.own_process:
        result["host_peak"] = resident("VmHWM")
        result["host_rise"] = result["host_peak"] - before
    beside = bind(load(task["beside"]), audio, n_mels)
    if task["device"]:
        from whisper_mel_conformance.compare import devices

        call, beside = (functools.partial(_delivered, it) for it in (call, beside))
        result["gpu_rise"] = devices.memory_rise(call)
        result["copies"] = devices.copies(call)
    features = call()
    np.save(task["features"], features.cpu() if task["device"] else features)
    order = random.Random(0)
    timing = measure(beside, call, cold=False, threads=1, budget=task["budget"], order=order)
    return {
        **result,
        "versions": dict(front_end.versions),
        "ms": 1e3 * statistics.median(timing.other),
        "beside_ms": 1e3 * statistics.median(timing.ours),
        "ratio": timing.ratio(),
        "rounds": len(timing.ours),
        "undecided": timing.is_undecided,
        "noisy": timing.noisy,
    }


def _delivered(call: Callable[[], Any]) -> Any:
    from whisper_mel_conformance.compare import devices

    return devices.deliver(call())


def main() -> int:
    task, report = take_task()
    try:
        report(compare(task))
    except ImportError as error:
        report({"skipped": f"{ABSENT} ({error})"})
    except NotImplementedError as error:
        report({"skipped": f"{error}"})
    except Exception as error:  # of another project: the other paths can still be measured
        report({"skipped": f"failed: {type(error).__name__}: {error}"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
