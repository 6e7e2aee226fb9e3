"""Bits of calls on several streams at once and in CUDA graphs, compared with single calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from whisper_mel_mojo import gpu

from gpu.device.calls import CALLS, Call, Memory, digest, perform
from gpu.device.driver import Device, device
from gpu.device.plan import Found
from gpu.device.scale import scale

STREAMS = 8
ROUNDS = 5


def run() -> dict[str, Any]:
    """Run all comparisons; raise ``Found`` if bits differ."""
    cuda = device()
    longest = min(scale().longest, 200_000)
    jobs = [Call(f"clip {i}", 2, longest // (i + 1), (80, 128)[i % 2]) for i in range(STREAMS)]
    findings: list[str] = []
    expected = [alone(job, findings) for job in jobs]
    if len(set(expected)) != STREAMS:
        findings.append(f"planted: {STREAMS} different inputs gave {len(set(expected))} results")
    different = at_once(cuda, jobs, expected)
    if different:
        findings.append(f"{different} of {STREAMS * ROUNDS} results on streams of their own differ")
    whole = [call for call in CALLS if call.lengths is None]
    findings += [it for call in whole for it in graph(cuda, call)]
    if findings:
        raise Found(findings)
    return {"streams": STREAMS, "calls": STREAMS * ROUNDS, "graphs": len(whole)}


def alone(call: Call, findings: list[str]) -> str:
    """Return the digest of a call's features when nothing else runs; add to ``findings``."""
    features, found = perform(call, 0)
    findings += [f"{call.name}: {it}" for it in found]
    return digest(features)


def at_once(cuda: Device, jobs: list[Call], expected: list[str]) -> int:
    """Count the results that differ if all jobs are launched before any is waited for."""
    streams = [cuda.new_stream() for _ in jobs]
    inputs = [Memory((job.clips, job.samples), job.dtype).upload(job.audio()) for job in jobs]
    different = 0
    for _ in range(ROUNDS):
        outputs = [Memory(job.shape, np.float32) for job in jobs]
        for out in outputs:
            out.poison()
        cuda.wait_for()
        for job, stream, audio, out in zip(jobs, streams, inputs, outputs, strict=True):
            gpu.log_mel(audio, job.n_mels, out=out, stream=stream, **job.options)
        for stream in streams:
            cuda.wait_for(stream)
        digests = [digest(out.download()) for out in outputs]
        different += sum(a != b for a, b in zip(digests, expected, strict=True))
    return different


def graph(cuda: Device, call: Call) -> list[str]:
    """Launch a captured call with one input after another; return the findings."""
    stream = cuda.new_stream()
    audio = Memory((call.clips, call.samples), call.dtype).upload(call.audio())
    out = Memory(call.shape, call.features_dtype)
    findings: list[str] = []
    expected = alone(call, findings)  # loads the kernel, which cannot be captured

    def launch() -> None:
        gpu.log_mel(audio, call.n_mels, out=out, stream=stream, **call.options)

    launch()  # a stream's first use cannot be captured either
    cuda.wait_for(stream)
    out.poison()
    cuda.wait_for()
    captured = cuda.captured(stream, launch)
    if not np.isnan(out.download()).all():
        findings.append(f"{call.name}: the call ran while it was captured")
    for samples in (np.zeros_like(call.audio()), call.audio()):
        audio.upload(samples)
        cuda.wait_for()
        cuda.launch_graph(captured, stream)
        cuda.wait_for(stream)
    if digest(out.download()) != expected:
        findings.append(f"{call.name}: the graph's second launch gave other bits than the call")
    return findings
