"""Counts of a call's work on the device by PyTorch's profiler (CUPTI): one launch, no copy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from whisper_mel_mojo import gpu

from gpu.device.driver import device
from gpu.device.plan import Found, NotHere
from gpu.device.scale import scale


class Counts(NamedTuple):
    """Counts of the device's work; ``microseconds`` is the time of its kernels."""

    kernels: int
    copies: int
    fills: int
    microseconds: float


ONE_LAUNCH = (1, 0, 0)


def run() -> dict[str, Any]:
    """Count for each call; raise ``NotHere`` if the profiler misses PyTorch's own work."""
    device()
    torch = usable_torch()
    control(torch)
    findings = []
    data: dict[str, Any] = {}
    for name, call, allocations in calls(torch):
        call()  # has loaded the kernel
        torch.cuda.synchronize()
        before = allocated(torch)
        counts = counted(torch, call)
        made = allocated(torch) - before
        data[name] = {**counts._asdict(), "allocations": made}
        if counts[:3] != ONE_LAUNCH:
            findings.append(f"{name}: {counts}: expected one launch and nothing else")
        if made != allocations:
            findings.append(f"{name}: {made} allocations: expected {allocations}")
    if findings:
        raise Found(findings, data)
    return data


def usable_torch() -> Any:
    """Import PyTorch; raise ``NotHere`` if it is not installed or sees no device."""
    try:
        import torch
    except ImportError as error:
        raise NotHere(f"PyTorch is not installed ({error})") from None
    if not torch.cuda.is_available():
        raise NotHere("PyTorch sees no CUDA device")
    return torch


def counted(torch: Any, call: Callable[[], object]) -> Counts:
    """Count what the device does for a call."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    with profile(activities=activities) as profiled:
        call()
        torch.cuda.synchronize()
    return sorted_out(profiled.events())


def sorted_out(events: Iterable[Any]) -> Counts:
    """Count kernels, copies and fills among a profiler's events."""
    kernels = copies = fills = 0
    microseconds = 0.0
    for event in events:
        if "CUDA" not in str(event.device_type):
            continue
        if event.name.startswith("Memcpy"):
            copies += 1
        elif event.name.startswith("Memset"):
            fills += 1
        elif event.name.startswith(("cuda", "cu")) and "Launch" in event.name:
            continue  # of the host, shown on the device's line by some versions
        else:
            kernels += 1
            microseconds += event.time_range.elapsed_us()
    return Counts(kernels, copies, fills, microseconds)


def control(torch: Any) -> None:
    """Require that two kernels and a copy of PyTorch's are counted as such."""
    tensor = torch.ones(1000, device="cuda")
    other = torch.empty_like(tensor)

    def planted() -> None:
        tensor.add_(1)
        tensor.mul_(2)
        other.copy_(tensor)

    planted()
    seen = counted(torch, planted)
    if seen[:3] == (0, 0, 0):
        raise NotHere("PyTorch's profiler sees nothing of the device here (CUPTI)")
    if seen[:3] != (2, 1, 0):
        raise Found([f"planted: two kernels and a copy; the profiler says {seen}"])


def allocated(torch: Any) -> int:
    """Return how often PyTorch's allocator was asked for device memory."""
    count: int = torch.cuda.memory_stats().get("allocation.all.allocated", 0)
    return count


def calls(torch: Any) -> list[tuple[str, Callable[[], object], int]]:
    """Return names, calls, and the number of allocations that each may make."""
    n = scale().clip
    one = torch.randn(n, device="cuda") * 0.1
    batch = torch.randn(16, n, device="cuda") * 0.1
    short = (batch * 32767).to(torch.int16)
    lengths = torch.full((16,), n - 1, device="cuda", dtype=torch.int64)
    out = torch.empty(16, 80, n // 160, device="cuda")
    return [
        ("one clip", lambda: gpu.log_mel(one), 1),
        ("16 clips, out", lambda: gpu.log_mel(batch, out=out), 0),
        ("int16, 128 bands", lambda: gpu.log_mel(short, 128), 1),
        ("smoothed, padded", lambda: gpu.log_mel(one, smoothing="same", pad_to=n + 999), 1),
        ("ragged, out", lambda: gpu.log_mel(batch, lengths=lengths, out=out), 0),
    ]
