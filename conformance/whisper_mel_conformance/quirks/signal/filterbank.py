"""Quirks of the mel filterbank."""

from __future__ import annotations

import numpy as np
from whisper_mel_reference import mel_filterbank
from whisper_mel_reference.filterbank import hz_to_mel, mel_to_hz

from whisper_mel_conformance.quirks.path import Call, Variation
from whisper_mel_conformance.quirks.quirk import Parameter
from whisper_mel_conformance.quirks.signal.common import (
    SLANEY_BANK,
    WENET_2320,
    Array,
    rounded_to_bfloat16,
    rounded_to_half,
    rounded_to_tf32,
)
from whisper_mel_conformance.quirks.table import Table

FILTERBANK = Table("filterbank")


def _rows_to_one(bank: Array, call: Call) -> Array:
    return bank / bank.sum(axis=1, keepdims=True)


def _edges(call: Call, n_mels: int) -> Array:
    scale = call.spec.mel_scale
    low, high = (hz_to_mel(hz, scale) for hz in (call.spec.f_min, call.spec.f_max))
    return mel_to_hz(np.linspace(low, high, n_mels + 2), scale)


def _normed(triangles: Array, call: Call) -> Array:
    if call.spec.mel_norm is None:
        return triangles
    hertz = _edges(call, len(triangles))
    return np.asarray(triangles * (2.0 / (hertz[2:] - hertz[:-2]))[:, np.newaxis])


def _mel_triangles(bank: Array, call: Call) -> Array:
    """Make triangles that are straight in mel, not in hertz."""
    scale = call.spec.mel_scale
    bins = np.arange(bank.shape[1]) * (call.spec.sample_rate / call.fft_size)
    mels = np.array([hz_to_mel(float(hz), scale) for hz in bins])
    low, high = (hz_to_mel(hz, scale) for hz in (call.spec.f_min, call.spec.f_max))
    edges = np.linspace(low, high, len(bank) + 2)
    width = edges[1] - edges[0]
    triangles = np.maximum(0.0, 1.0 - np.abs(mels - edges[1:-1, np.newaxis]) / width)
    return _normed(triangles, call).astype(bank.dtype)


def _snapped(bank: Array, call: Call) -> Array:
    """Move the triangles' edges to whole bins, as many tutorials do."""
    hertz = _edges(call, len(bank))
    edges = np.floor((call.fft_size + 1) * hertz / call.spec.sample_rate)
    bins = np.arange(bank.shape[1])
    with np.errstate(all="ignore"):
        rise = (bins - edges[:-2, np.newaxis]) / (edges[1:-1] - edges[:-2])[:, np.newaxis]
        fall = (edges[2:, np.newaxis] - bins) / (edges[2:] - edges[1:-1])[:, np.newaxis]
    triangles = np.maximum(0.0, np.minimum(np.nan_to_num(rise, posinf=0.0), fall))
    triangles = np.nan_to_num(triangles, posinf=0.0, neginf=0.0)
    return _normed(triangles, call).astype(bank.dtype)


def _lowest_of_128(bank: Array, call: Call) -> Array:
    spec = call.spec.replace(n_fft=call.fft_size)
    return mel_filterbank(128, spec)[: len(bank)].astype(bank.dtype)


def _of_another_size(n_fft: int) -> Variation:
    def hook(bank: Array, call: Call) -> Array:
        other = mel_filterbank(len(bank), call.spec.replace(n_fft=n_fft))
        missing = max(bank.shape[1] - other.shape[1], 0)
        return np.pad(other, ((0, 0), (0, missing)))[:, : bank.shape[1]].astype(bank.dtype)

    return Variation(stages={"bank": hook})


def _bin_early(bank: Array, call: Call) -> Array:
    return np.pad(bank, ((0, 0), (0, 1)))[:, 1:]


def _bin_late(bank: Array, call: Call) -> Array:
    return np.pad(bank, ((0, 0), (1, 0)))[:, :-1]


FILTERBANK.add(
    "htk-mel",
    "The mel scale is HTK's instead of Slaney's.",
    "bands hear other frequencies: up to 2",
    WENET_2320,
    "https://github.com/pytorch/audio/issues/1058",
    fix=f'Slaney\'s scale: {SLANEY_BANK}, `mel_scale="slaney"` in torchaudio and transformers.',
    spec={"mel_scale": "htk"},
)
FILTERBANK.add(
    "no-mel-norm",
    "Triangles have a peak of 1, not an area of 1 Hz.",
    "0.4 to 0.6 too high",
    "https://github.com/pytorch/audio/issues/287",
    fix=f'Triangles with an area of 1: {SLANEY_BANK}, `norm="slaney"` in torchaudio and '
    "transformers. C: `weight *= 2 / (f[m + 2] - f[m])`, of the band's edges in Hz.",
    spec={"mel_norm": None},
)
FILTERBANK.add(
    "htk-mel-without-norm",
    "HTK's mel scale and triangles with a peak of 1 (torchaudio's defaults).",
    "up to 2.5",
    "https://github.com/pytorch/audio/issues/1058",
    fix="`torchaudio.transforms.MelSpectrogram(16000, n_fft=400, hop_length=160, "
    f'n_mels=80, norm="slaney", mel_scale="slaney")`, {SLANEY_BANK}.',
    spec={"mel_scale": "htk", "mel_norm": None},
)
FILTERBANK.add(
    "bands-sum-to-one",
    "Each band's weights sum to 1.",
    "0.4 too high",
    "https://github.com/paiml/whisper.apr/issues/7",
    fix="Do not divide a band by its sum; Slaney's norm is 2 / (right edge - left edge)"
    f" in hertz: {SLANEY_BANK}.",
    bank=_rows_to_one,
)
FILTERBANK.add(
    "bands-peak-at-one",
    "Each band's weights are divided by the largest of them.",
    "0.4 to 0.6 too high, differently for each band",
    fix="Do not divide a band by its peak; Slaney's norm is 2 / (right edge - left "
    f"edge) in hertz: {SLANEY_BANK}.",
    since="2026-11-25",
    bank=lambda bank, call: bank / bank.max(axis=1, keepdims=True),
)
FILTERBANK.add(
    "triangles-in-mel",
    "Triangles are straight on the mel scale, not in hertz (Kaldi).",
    "0.003: only a tolerance below 1e-3 shows it",
    WENET_2320,
    fix=f"Compute the slopes of the triangles in hertz, not in mel: {SLANEY_BANK}.",
    bank=_mel_triangles,
)
FILTERBANK.add(
    "edges-on-bins",
    "The triangles' edges are moved to whole bins.",
    "low bands are empty: up to 2",
    "https://github.com/0xShug0/audio.cpp/pull/384",
    "https://github.com/vllm-project/vllm-metal/pull/729",
    fix=f"Do not round edges to bins: {SLANEY_BANK}.",
    bank=_snapped,
)
FILTERBANK.add_family(
    "highest-frequency",
    "The bank ends below 8000 Hz.",
    "bands hear other frequencies: up to 2.6",
    Parameter("hertz", 7600, (*range(3000, 8000, 200), 7900, 7990)),
    lambda hz: Variation({"f_max": float(hz)}),
    WENET_2320,
    fix="The bank ends at 8000 Hz: `librosa.filters.mel(sr=16000, n_fft=400, n_mels=80,"
    " fmax=8000.0)`.",
)
FILTERBANK.add_family(
    "lowest-frequency",
    "The bank begins above 0 Hz.",
    "bands hear other frequencies",
    Parameter("hertz", 20, (1, 10, 20, 40, 60, 80, 100, 133, 200, 300)),
    lambda hz: Variation({"f_min": float(hz)}),
    WENET_2320,
    fix="The bank begins at 0 Hz: `librosa.filters.mel(sr=16000, n_fft=400, n_mels=80, fmin=0.0)`.",
)
FILTERBANK.add_family(
    "bank-of-22050-hertz",
    "The bank, up to 8000 Hz, is made for audio of another rate, as 22.05 kHz, librosa's default.",
    "bands hear other frequencies",
    Parameter("hertz", 22050, (22050, 24000, 32000, 44100, 48000), listed=True),
    lambda hz: Variation({"sample_rate": round(hz)}),
    fix=f"Say the rate, whose default is 22050 Hz: {SLANEY_BANK}.",
)
FILTERBANK.add_family(
    "bank-of-another-rate",
    "The bank is made for audio of another rate, and goes up to half of that.",
    "bands hear other frequencies",
    Parameter("hertz", 22050, (8000, 11025, 22050, 24000, 32000, 44100, 48000), listed=True),
    lambda hz: Variation({"sample_rate": round(hz), "f_max": hz / 2.0}),
    fix=f"Make the bank for 16 kHz, and resample the audio to that: {SLANEY_BANK}.",
    since="2026-11-25",
)
FILTERBANK.add_family(
    "bank-of-another-transform",
    "The bank is made for a transform of another size, its bins too near or too far from each "
    "other (402: 8000 Hz divided by 201 bins instead of 200 steps).",
    "bands hear other frequencies",
    Parameter("size", 512, (320, 398, 399, 401, 402, 404, 416, 480, 512, 800, 1024), True),
    lambda n_fft: _of_another_size(round(n_fft)),
    fix=f"Bin k lies at 40 k Hz, k * 16000 / 400: {SLANEY_BANK}. For torchaudio: `n_freqs=201`.",
    since="2026-11-25",
)
FILTERBANK.add(
    "one-bin-late",
    "The bank is off by one bin.",
    "bands hear frequencies 40 Hz too low",
    fix=f"Bin 0, at 0 Hz, belongs to column 0 of the bank: {SLANEY_BANK}.",
    bank=_bin_late,
)
FILTERBANK.add(
    "one-bin-early",
    "The bank is off by one bin, the other way: the transform's first bin is left out.",
    "bands hear frequencies 40 Hz too high",
    fix=f"Keep bin 0 of the transform, all 201 bins: {SLANEY_BANK}.",
    since="2026-11-25",
    bank=_bin_early,
)
FILTERBANK.add(
    "bands-reversed",
    "The highest band comes first.",
    "upside down",
    fix="Put the lowest band first: `bank = bank[::-1]`, or do not sort the edges downwards.",
    bank=lambda bank, call: bank[::-1],
)
FILTERBANK.add_family(
    "bands-rotated",
    "Bands come some places too high, and the highest ones lowest.",
    "energy is in other bands",
    Parameter("bands", 1, (-4, -3, -2, -1, 1, 2, 3, 4), True),
    lambda by: Variation(stages={"bank": lambda bank, call: np.roll(bank, round(by), axis=0)}),
    fix="Write band b to row b, the lowest first: check the index.",
    since="2026-11-25",
)
FILTERBANK.add(
    "lowest-80-of-128",
    "The bank of the larger models, cut off after as many bands as asked for.",
    "bands hear other frequencies",
    fix="Make a bank for each number of bands: `librosa.filters.mel(sr=16000, "
    "n_fft=400, n_mels=n_mels)`.",
    bank=_lowest_of_128,
)
FILTERBANK.add(
    "tf32-bank",
    "The product with the bank is done by tensor cores: 10 bits of each weight and power.",
    "7e-5: passes a tolerance of 1e-4 everywhere",
    "https://github.com/ggml-org/whisper.cpp/pull/2206",
    fix="Switch TF32 off for this product: `torch.backends.cuda.matmul.allow_tf32 = "
    'False`, `torch.set_float32_matmul_precision("highest")`.',
    killer="numerics/chirp/80",
    power=rounded_to_tf32,
    bank=rounded_to_tf32,
)
FILTERBANK.add(
    "half-precision-bank",
    "The bank is float16.",
    "1e-4",
    fix="Keep the bank in float32: `bank.float()`; a call of `model.half()` must not reach it.",
    killer="numerics/chirp/80",
    bank=rounded_to_half,
)
FILTERBANK.add(
    "bfloat16-bank",
    "The bank is bfloat16.",
    "1e-3",
    fix="Keep the bank in float32: `bank.float()`; a call of `model.bfloat16()` must not reach it.",
    since="2026-11-25",
    bank=rounded_to_bfloat16,
)
FILTERBANK.add(
    "half-precision-product",
    "The product with the bank is done in float16: powers, weights and result (autocast).",
    "quiet bands vanish, loud ones overflow",
    fix='Compute the product in float32: `torch.autocast("cuda", enabled=False)` around it.',
    since="2026-11-25",
    power=rounded_to_half,
    bank=rounded_to_half,
    mel=rounded_to_half,
)
FILTERBANK.add(
    "bfloat16-product",
    "The product with the bank is done in bfloat16: powers, weights and result (autocast).",
    "1e-3 off",
    fix='Compute the product in float32: `torch.autocast("cuda", enabled=False)` around it.',
    since="2026-11-25",
    power=rounded_to_bfloat16,
    bank=rounded_to_bfloat16,
    mel=rounded_to_bfloat16,
)
