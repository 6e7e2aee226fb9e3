"""Counts that need a CUDA device: copies, and its memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

try:
    import torch
except ImportError:
    torch = None  # then no device is known


def device() -> str | None:
    """Return the name of the first CUDA device that PyTorch has; None if there is none."""
    if torch is None or not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_name(0)


def deliver(features: Any) -> Any:
    """Move features to the device, where a model takes them, and wait until they are there."""
    if not isinstance(features, torch.Tensor):
        features = torch.from_numpy(features)
    features = features.cuda()
    torch.cuda.synchronize()
    return features


def copies(call: Callable[[], object]) -> dict[str, int]:
    """Count the copies of a call in the driver's trace: to the device, and from it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        call()
        torch.cuda.synchronize()
    names = [event.name for event in trace.events()]
    return {
        direction: sum(name.startswith(f"Memcpy {kind}") for name in names)
        for direction, kind in (("to the device", "HtoD"), ("from it", "DtoH"))
    }


def memory_rise(call: Callable[[], object]) -> int:
    """Return the largest rise of the device's used memory during a call, in bytes.

    A thread polls the memory of the whole device. So other processes count, and a short rise may be
    missed.
    """

    def free() -> int:
        bytes_free, _ = torch.cuda.mem_get_info()
        return int(bytes_free)

    seen = [before := free()]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            least = free()
            if least < seen[-1]:  # only this thread appends to the list meanwhile
                seen.append(least)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = call()  # alive until memory was read for the last time
        torch.cuda.synchronize()
    finally:
        done.set()
        watcher.join()
    least = min(*seen, free())
    del result
    return before - least
