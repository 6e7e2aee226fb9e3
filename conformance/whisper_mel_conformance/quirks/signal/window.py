"""Quirks of the window."""

from __future__ import annotations

from typing import Any

import numpy as np

from whisper_mel_conformance.quirks.path import Call, Hook, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.common import PERIODIC_HANN, WENET_2320, Array
from whisper_mel_conformance.quirks.table import Table

WINDOW = Table("window")


def _weights(window: Any) -> Hook:
    return lambda weights, call: window(weights.size).astype(weights.dtype)


def _short_window(n: int) -> Variation:
    def hook(weights: Array, call: Call) -> Array:
        inner = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)
        left = (weights.size - n) // 2
        return np.pad(inner, (left, weights.size - n - left)).astype(weights.dtype)

    return Variation(stages={"window": hook})


def _rolled(by: int) -> Variation:
    return Variation(stages={"window": lambda weights, call: np.roll(weights, by)})


WINDOW.add(
    "symmetric-window",
    "The Hann window is symmetric (N - 1 in its denominator).",
    "0.02 on noise, 0.5 beside tones: leakage",
    "https://github.com/Blaizzy/mlx-audio/pull/920",
    fix=f"Make it periodic: {PERIODIC_HANN}. C: `0.5f - 0.5f * cosf(2 * M_PI * i / 400)`.",
    spec={"window": "hann-symmetric"},
)
WINDOW.add(
    "hamming-window",
    "The window is Hamming's instead of Hann's.",
    "louder by a constant; leakage beside tones",
    WENET_2320,
    fix=f"Take the periodic Hann window: {PERIODIC_HANN}.",
    spec={"window": "hamming-periodic"},
)
WINDOW.add(
    "povey-window",
    "The window is Kaldi's Povey window, Hann's to the power of 0.85.",
    "leakage beside tones, up to 1.2",
    WENET_2320,
    fix='Take the periodic Hann window, `window_type="hanning"` being symmetric in '
    f"Kaldi: {PERIODIC_HANN}.",
    spec={"window": "povey"},
)
WINDOW.add(
    "no-window",
    "Frames are not windowed.",
    "leakage everywhere, up to 2.9",
    fix=f"Multiply each frame by the periodic Hann window: {PERIODIC_HANN}; torch.stft "
    "has none without `window=torch.hann_window(400)`.",
    spec={"window": "rectangular"},
)
WINDOW.add(
    "blackman-window",
    "The window is Blackman's instead of Hann's.",
    "quieter by a constant; tones are wider",
    fix=f"Take the periodic Hann window: {PERIODIC_HANN}.",
    window=_weights(lambda n: np.blackman(n + 1)[:-1]),
)
WINDOW.add(
    "symmetric-hamming-window",
    "The window is a symmetric Hamming window (NumPy's hamming).",
    "louder by a constant; leakage beside tones",
    fix=f"Take the periodic Hann window: {PERIODIC_HANN}.",
    since="2026-11-25",
    window=_weights(np.hamming),
)
WINDOW.add(
    "symmetric-blackman-window",
    "The window is a symmetric Blackman window (NumPy's blackman).",
    "quieter by a constant; tones are wider",
    fix=f"Take the periodic Hann window: {PERIODIC_HANN}.",
    since="2026-11-25",
    window=_weights(np.blackman),
)
WINDOW.add(
    "window-half-a-sample-late",
    "Half a sample is added within the Hann window's cosine: it is symmetric without a zero.",
    "leakage, 0.01 on noise",
    fix=f"Without the half: {PERIODIC_HANN}. C: `0.5f - 0.5f * cosf(2 * M_PI * i / 400)`.",
    since="2026-11-25",
    window=_weights(lambda n: np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2),
)
WINDOW.add(
    "matlab-hanning-window",
    "MATLAB's hanning: the symmetric Hann window of N + 2 samples without the zeros at its ends.",
    "0.01 on noise, more beside tones: leakage",
    fix=f'Take the periodic Hann window, in MATLAB hann(400, "periodic"): {PERIODIC_HANN}.',
    since="2026-11-25",
    window=_weights(lambda n: np.hanning(n + 2)[1:-1]),
)
WINDOW.add_family(
    "hann-power",
    "The window is Hann's to some power: its root, or applied twice.",
    "leakage, and a constant",
    Parameter("exponent", 0.5, (0.25, 0.5, 0.75, 0.85, 0.95, 1.1, 1.5, 2.0, 3.0)),
    lambda p: Variation(stages={"window": lambda weights, call: weights ** weights.dtype.type(p)}),
    fix=f"Apply the Hann window once, to the power of 1: {PERIODIC_HANN}.",
)
WINDOW.add_family(
    "short-window",
    "The Hann window has fewer samples, in the middle of the frame (399: the symmetric window).",
    "quieter by a constant; tones are wider",
    Parameter("samples", 320, (200, 240, 256, 300, 320, 350, 380, 398), True),
    lambda n: _short_window(round(n)),
    fix=f"The window has all 400 samples of the frame: `win_length=400`, {PERIODIC_HANN}.",
)
WINDOW.add_family(
    "window-rotated",
    "The window's samples are off by some places.",
    "leakage",
    Parameter("samples", 1, (-40, -20, -8, -4, -2, -1, 1, 2, 4, 8, 20, 40), True),
    lambda by: _rolled(round(by)),
    fix=f"Its first weight is 0, its largest that of sample 200: {PERIODIC_HANN}.",
)
WINDOW.add(
    "window-normalised",
    "The window is divided by its sum (scipy's scaling).",
    "a constant, 1.15 lower",
    fix="Leave the window as it is, its peak 1: remove `window / window.sum()` "
    '(`scaling="spectrum"` in SciPy).',
    window=lambda weights, call: weights / weights.sum(),
)
