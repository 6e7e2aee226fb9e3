"""Device memory: a call takes none beside its arrays, and too little memory is a clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
from whisper_mel_mojo import gpu
from whisper_mel_mojo.gpu import host

from gpu.device.calls import Call, Memory, digest, perform
from gpu.device.driver import DEVICE, Device, device
from gpu.device.plan import Found
from gpu.device.scale import scale

LARGEST = Call("largest", scale().batches[-1], scale().clip)
GRANULE = 2 << 20
"""Bytes that the driver takes from the device at once."""


def run() -> dict[str, Any]:
    """Measure memory; raise ``Found`` for memory that is kept or taken, and for unclear errors."""
    cuda = device()
    before = cuda.free_memory()
    small = Call("small", 2, 16_000)
    bits = digest(perform(small, 0)[0])
    loaded = before - cuda.free_memory()
    taken = taken_by_calls(cuda)
    findings = []
    if taken > GRANULE:
        findings.append(f"calls take {taken} bytes of device memory beside their arrays")
    planted = cuda.allocate(DEVICE, 8 * GRANULE)
    if before - cuda.free_memory() - loaded < 4 * GRANULE:
        findings.append("planted: 16 MiB were allocated and not seen")
    cuda.free(DEVICE, planted)
    findings += without_enough(cuda, small, bits)
    data = {
        "context_and_kernels_bytes": loaded,
        "beside_arrays_bytes": taken,
        "clips": LARGEST.clips,
        "arrays_bytes": 4 * (LARGEST.clips * LARGEST.samples + int(np.prod(LARGEST.shape))),
        **torch_peaks(),
    }
    if findings:
        raise Found(findings, data)
    return data


def taken_by_calls(cuda: Device) -> int:
    """Return by how many bytes free memory falls in 20 calls of the largest batch."""
    audio = Memory((LARGEST.clips, LARGEST.samples), np.float32)
    cuda.fill(audio.address, 0, audio.size // 4)
    out = Memory(LARGEST.shape, np.float32)
    cuda.wait_for()
    before = cuda.free_memory()
    for _ in range(20):
        gpu.log_mel(audio, out=out)
    least = cuda.free_memory()  # while they run
    cuda.wait_for()
    return before - min(least, cuda.free_memory())


def without_enough(cuda: Device, small: Call, bits: str) -> list[str]:
    """List faults of a call when nearly all memory is taken, and of a call after it."""
    held = take_all_but(cuda, 16 * GRANULE)
    findings = []
    try:
        host.log_mel(np.zeros((64, 480_000), np.float32))
    except MemoryError as error:
        if "bytes of memory" not in str(error):
            findings.append(f"too little memory: the error says only: {error}")
    except Exception as error:
        findings.append(f"too little memory: {type(error).__name__}: {error}")
    else:
        findings.append("too little memory: no error")
    finally:
        for address in held:
            cuda.free(DEVICE, address)
    if digest(perform(small, 0)[0]) != bits:
        findings.append("after too little memory, a call gives other bits")
    return findings


def take_all_but(cuda: Device, left: int) -> list[int]:
    """Allocate memory until about ``left`` bytes are free; return the addresses."""
    held = []
    size = cuda.free_memory() - left
    while size >= GRANULE:
        try:
            held.append(cuda.allocate(DEVICE, size))
            size = cuda.free_memory() - left
        except MemoryError:
            size //= 2  # the free memory is in pieces
    return held


def torch_peaks() -> dict[str, Any]:
    """Return peaks of PyTorch's allocator above the audio, for ours and for PyTorch's pipeline."""
    try:
        import torch
    except ImportError as error:
        return {"torch": f"not run: {error}"}
    if not torch.cuda.is_available():
        return {"torch": "not run: PyTorch sees no CUDA device"}
    from gpu.device.sections.peers import torch_stft

    audio = torch.randn(64, 480_000, device="cuda")
    peaks = {}
    for name, call in {"whisper-mel": gpu.log_mel, "torch-stft": torch_stft(80, "cuda")}.items():
        call(audio)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = call(audio)
        torch.cuda.synchronize()
        peaks[name] = torch.cuda.max_memory_allocated() - before
        del result
    return {"torch_peak_bytes_of_64_clips": peaks, "features_of_64_clips_bytes": 64 * 80 * 3000 * 4}
