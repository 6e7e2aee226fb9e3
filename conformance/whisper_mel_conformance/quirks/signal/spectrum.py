"""Quirks of the Fourier transform and of the powers."""

from __future__ import annotations

import numpy as np

from whisper_mel_conformance.quirks.path import Call, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.common import (
    CANDLE_1560,
    CPP_1148,
    ELBRUNO_6,
    TINYGRAD,
    Array,
    rounded_to_bfloat16,
    rounded_to_half,
)
from whisper_mel_conformance.quirks.table import Table

SPECTRUM = Table("spectrum")


def _folded(power: Array, call: Call) -> Array:
    power = power.copy()
    power[:, 1:-1] *= 2
    return power


def _hann_of_400(weights: Array, call: Call) -> Array:
    left = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(400) / 400)
    return np.pad(left, (0, weights.size - 400)).astype(weights.dtype)


SPECTRUM.add(
    "magnitude",
    "Magnitudes are taken instead of powers.",
    "0.5 to 1 off",
    ELBRUNO_6,
    fix="Square the magnitude: `np.abs(spectrum) ** 2`, `power=2.0` in torchaudio and librosa.",
    spec={"power": 1.0},
)
SPECTRUM.add_family(
    "power-exponent",
    "Magnitudes are raised to another power than 2.",
    "the range of levels is stretched or squeezed",
    Parameter("exponent", 1.5, (0.5, 1.2, 1.5, 1.8, 1.9, 2.1, 2.5, 3.0, 4.0)),
    lambda p: Variation(
        stages={"power": lambda power, call: power ** power.dtype.type(p / call.spec.power)}
    ),
    fix="Take the square: `np.abs(spectrum) ** 2`, `power=2.0`.",
)
SPECTRUM.add(
    "negative-frequencies-folded",
    "The powers of negative frequencies are added to those of positive ones.",
    "0.0753 too high wherever nothing is clamped",
    CPP_1148,
    CANDLE_1560,
    fix="Use bins 0 to 200 once: `np.abs(np.fft.rfft(frames)) ** 2`; do not add bin 400"
    " - k to bin k.",
    power=_folded,
)
SPECTRUM.add(
    "real-part-only",
    "The imaginary part is lost, as by a cast to float32.",
    "up to 3.1 beside tones; DC and Nyquist tones hide it",
    TINYGRAD,
    fix="Use both parts: `spectrum.real**2 + spectrum.imag**2`.",
    spectrum=lambda spectrum, call: spectrum.real,
)
SPECTRUM.add(
    "imaginary-part-only",
    "The real part is lost.",
    "as the real part's loss; DC disappears",
    fix="Use both parts: `spectrum.real**2 + spectrum.imag**2`.",
    spectrum=lambda spectrum, call: spectrum.imag,
)
SPECTRUM.add(
    "transform-by-n",
    "The transform is divided by its size.",
    "a constant, 1.3 lower",
    fix='Leave the transform unscaled: `np.fft.rfft(frames, norm="backward")`.',
    window=lambda weights, call: weights / weights.dtype.type(400),
)
SPECTRUM.add(
    "transform-by-root-n",
    "The transform is divided by the root of its size (normalized=True).",
    "0.65 lower wherever nothing is clamped",
    fix="Leave the transform unscaled: `normalized=False` in torch.stft, "
    '`norm="backward"` in NumPy.',
    window=lambda weights, call: weights / weights.dtype.type(20),
)
SPECTRUM.add_family(
    "transform-zero-extended",
    "400 windowed samples are extended by zeros to a faster size.",
    "bands hear other frequencies between the bins: up to 1.5",
    Parameter("size", 512, (401, 405, 416, 432, 480, 512, 800, 1024, 2048), True),
    lambda n: Variation(fft_size=round(n)),
    "https://github.com/robertknight/rten/pull/919",
    "https://github.com/csukuangfj/kaldi-native-fbank/pull/66",
    fix="Transform 400 samples, which has bins at multiples of 40 Hz: `n_fft=400`, "
    "`np.fft.rfft(frames, 400)`. An FFT for powers of 2 only needs Bluestein's "
    "algorithm, or a plain DFT.",
)
SPECTRUM.add(
    "512-points-on-the-left",
    "Frames of 512 samples are mirrored at 256, and the window of 400 lies at their left.",
    "everything is 3.5 ms early; bands hear other frequencies",
    fix="Frames have 400 samples, mirrored at 200: `n_fft=400`, `win_length=400`, "
    '`np.pad(x, 200, mode="reflect")`.',
    since="2026-11-27",
    spec={"n_fft": 512},
    window=_hann_of_400,
)
SPECTRUM.add(
    "half-precision-power",
    "Powers are float16.",
    "quiet bins vanish, loud ones overflow",
    "https://github.com/pytorch/pytorch/issues/33485",
    fix="Compute powers in float32: `np.abs(spectrum).astype(np.float32) ** 2`; "
    '`torch.autocast("cuda", enabled=False)` around it.',
    power=rounded_to_half,
)
SPECTRUM.add(
    "bfloat16-power",
    "Powers are bfloat16.",
    "1e-3 off",
    fix='Compute powers in float32: `torch.autocast("cuda", enabled=False)` around the front-end.',
    power=rounded_to_bfloat16,
)
