"""Calls of one compiled kernel in the emulator: scores, findings, and the CPU's bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_conformance.report.columns import aligned
from whisper_mel_golden.speech import load_recording, read_wav, recordings
from whisper_mel_mojo import log_mel
from whisper_mel_mojo.gpu.emulator.program import Finding, Program
from whisper_mel_mojo.gpu.targets import SMOOTHED
from whisper_mel_reference import CLASS_A, WHISPER, score

Array = NDArray[Any]
ORDERS = ("backwards", "warps:1", "shuffled:1")


def execute(programs: dict[str, tuple[int, str]], n_mels: int, audio: Path | None = None) -> int:
    """Run kernels on speech and noise; print a table.

    ``programs``: by name, the kind of kernel and its text. Returns 1 if there is a finding, or a
    score above class A; else 0.
    """
    rows = [["kernel", "call", "score", "bits"]]
    findings = []
    for name, (kind, text) in programs.items():
        program = Program(text)
        for call, samples, options in calls(audio):
            if ("smoothing" in options) != (kind == SMOOTHED):
                continue
            try:
                value, same = judge(program, samples, n_mels, **options)
            except Finding as error:
                findings.append(f"{name}, {call}: {error}")
                rows.append([name, call, "-", "-"])
                continue
            rows.append([name, call, f"{value:.3f}", "as on a CPU" if same else "differ"])
            if not value <= CLASS_A:
                findings.append(f"{name}, {call}: score {value:.3f}, class A is up to {CLASS_A}")
    print(*aligned(rows), sep="\n")
    for line in findings:
        print(line)
    print(f"{len(findings)} findings")
    return 1 if findings else 0


def calls(audio: Path | None) -> Iterator[tuple[str, Array, dict[str, Any]]]:
    """Yield calls of all kinds: name, samples and options; ``audio`` None: a golden recording."""
    speech = read_wav(audio) if audio else load_recording(recordings()[0])
    floats = speech.astype(np.float32) / np.float32(32768)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 480_000).astype(np.float32)
    yield "speech, int16", speech, {}
    yield "speech, float32", floats, {}
    for order in ORDERS:
        yield f"speech, {order}", floats, {"order": order}
    for smoothing in ("valid", "same"):
        yield f"speech, {smoothing}", floats, {"smoothing": smoothing}
        yield f"speech, {smoothing}, int16", speech, {"smoothing": smoothing, "order": ORDERS[0]}
    yield "speech to 30 s", floats, {"pad_to": 480_000}
    yield "30 s of noise", noise, {}
    yield "60 s of noise, same", np.concatenate([noise, 0.1 * noise]), {"smoothing": "same"}
    yield (
        "ragged batch",
        np.stack([noise[i : i + 9000] for i in range(3)]),
        {"lengths": [9000, 201, 4001]},
    )


def judge(
    program: Program, samples: Array, n_mels: int, order: str = "forwards", **options: Any
) -> tuple[float, bool]:
    """Return the score of a call, and whether its bits are those of the library for CPUs."""
    features = program.log_mel(samples, n_mels, order=order, **options)
    lengths = options.pop("lengths", None)
    value = score(features, samples, WHISPER.replace(n_mels=n_mels, **options), lengths=lengths)
    if lengths is None:
        return value, np.array_equal(features, log_mel(samples, n_mels, **options))
    alone = [log_mel(it[:n], n_mels, **options) for it, n in zip(samples, lengths, strict=True)]
    pairs = zip(features, alone, strict=True)
    return value, all(np.array_equal(it[:, : clip.shape[1]], clip) for it, clip in pairs)
