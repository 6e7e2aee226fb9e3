"""The filterbank, bit for bit."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from whisper_mel_reference import WHISPER, mel_filterbank

# sha256 of the little-endian float32 weights, rows of 201, in openai-whisper 20250625's
# whisper/assets/mel_filters.npz (arrays mel_80 and mel_128).
DIGESTS = {
    80: "4f2701b1d287d74a0dc9871026e9519d98cb76426615f2539b0d151a0ae4ec2e",
    128: "2a5f9822897750e047c85dea37cc268d3be0ecfd23c28a5f10da129d99d05afe",
}


@pytest.mark.parametrize("n_mels", DIGESTS)
def test_bit_equal_to_openai_whisper(n_mels: int) -> None:
    weights = mel_filterbank(n_mels)
    assert weights.dtype == np.float32 and weights.shape == (n_mels, 201)
    assert hashlib.sha256(weights.tobytes()).hexdigest() == DIGESTS[n_mels]


@pytest.mark.parametrize("n_mels", DIGESTS)
def test_bit_equal_to_the_installed_openai_whisper(n_mels: int) -> None:
    audio = pytest.importorskip("whisper.audio", reason="openai-whisper is not installed")
    theirs = audio.mel_filters("cpu", n_mels).numpy()
    assert np.count_nonzero(theirs) > n_mels
    np.testing.assert_array_equal(mel_filterbank(n_mels).view(np.uint32), theirs.view(np.uint32))


def test_a_single_rounding_is_another_bank() -> None:
    """Why the two roundings are there: without the first, many last bits differ."""
    spec = WHISPER.replace(mel_norm=None)
    triangles = mel_filterbank(80, spec).astype(np.float64)
    peaks = mel_filterbank(80).max(axis=1) / triangles.max(axis=1)
    again = (triangles * peaks[:, np.newaxis]).astype(np.float32)
    assert np.any(again != mel_filterbank(80))


def test_first_and_last_bin_have_no_weight_and_bands_are_areas() -> None:
    for n_mels in (80, 128):
        weights = mel_filterbank(n_mels)
        assert not weights[:, [0, 200]].any()
        assert (weights > 0).any(axis=1).all()
        # Wide triangles sampled every 40 Hz have the area of about one hertz times a bin.
        assert weights[-10:].sum(axis=1) * 40 == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize(("f_min", "f_max"), [(0.0, 8000.0), (125.0, 7500.0)])
def test_htk_triangles_are_lines_between_their_corners(f_min: float, f_max: float) -> None:
    spec = WHISPER.replace(mel_scale="htk", mel_norm=None, f_min=f_min, f_max=f_max)
    low, high = (2595 * np.log10(1 + f / 700) for f in (f_min, f_max))
    corners = 700 * (10 ** (np.linspace(low, high, 42) / 2595) - 1)
    for band, weights in enumerate(mel_filterbank(40, spec)):
        lines = np.interp(40.0 * np.arange(201), corners[band : band + 3], [0, 1, 0])
        np.testing.assert_allclose(weights, lines, rtol=0, atol=1e-6)


def test_htk_and_unnormalised_banks_differ() -> None:
    slaney = mel_filterbank(80)
    assert np.abs(slaney - mel_filterbank(80, WHISPER.replace(mel_scale="htk"))).max() > 1e-3
    assert mel_filterbank(80, WHISPER.replace(mel_norm=None)).max() > 0.9


def test_the_bank_cannot_be_changed_by_its_user() -> None:
    with pytest.raises(ValueError, match="read-only"):
        mel_filterbank(80)[0, 0] = 1.0
