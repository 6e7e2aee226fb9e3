"""What can only be counted where there is a CUDA device: copies, and its memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch


def device() -> str | None:
    """The name of the first CUDA device; None where there is none."""
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def deliver(features: Any) -> Any:
    """The features where a model on the device takes them, when everything has been done."""
    if not isinstance(features, torch.Tensor):
        features = torch.from_numpy(features)
    features = features.cuda()
    torch.cuda.synchronize()
    return features


def copies(call: Callable[[], object]) -> dict[str, int]:
    """How many copies a call makes, as the driver's own trace has them: to the device, from it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        call()
        torch.cuda.synchronize()
    names = [event.name for event in trace.events()]
    return {
        direction: sum(name.startswith(f"Memcpy {kind}") for name in names)
        for direction, kind in (("to the device", "HtoD"), ("from it", "DtoH"))
    }


def memory_rise(call: Callable[[], object]) -> int:
    """By how many bytes the device's used memory rises at most while a call runs.

    It is the whole device's, looked at again and again: what others do to it counts, and what lasts
    for less than a look may be missed.
    """

    def free() -> int:
        bytes_free, _ = torch.cuda.mem_get_info()
        return int(bytes_free)

    seen = [before := free()]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            least = free()
            if least < seen[-1]:  # only this thread adds to the list meanwhile
                seen.append(least)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = call()  # kept until the last look
        torch.cuda.synchronize()
    finally:
        done.set()
        watcher.join()
    least = min(*seen, free())
    del result
    return before - least
