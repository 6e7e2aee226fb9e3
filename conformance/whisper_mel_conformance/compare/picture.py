"""The picture of a comparison: waveform, both features, their difference in units of the bound."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER

Array = NDArray[Any]

COLUMNS = 2000
"""Largest number of columns of a picture. Each shows the largest of its values, so none is lost."""


def draw(audio: Array, features: dict[str, Array], bound: Array) -> bytes:
    """Return a PNG of the features of two front-ends, by their names.

    Features and bound have shape ``(n_mels, n_frames)``.
    """
    (one, ours), (other, theirs) = features.items()
    seconds = audio.size / WHISPER.sample_rate
    figure, axes = plt.subplots(4, 1, figsize=(11, 9), sharex=True, layout="constrained")
    high, low = largest(audio), -largest(-audio)
    axes[0].fill_between(np.linspace(0, seconds, high.size), low, high, linewidth=0.5)
    axes[0].set_title("samples", fontsize=10, loc="left")
    difference = np.abs(np.float64(ours) - theirs) / bound
    most = float(difference[np.isfinite(difference)].max(initial=10.0))
    extent = (0.0, seconds, -0.5, ours.shape[0] - 0.5)
    for ax, values, style, title in (
        (axes[1], ours, {"cmap": "magma"}, f"features: {one}"),
        (axes[2], theirs, {"cmap": "magma"}, f"features: {other}"),
        (
            axes[3],
            np.maximum(difference, 1e-3),
            {"cmap": "viridis", "norm": LogNorm(1e-3, most)},
            f"their difference, in units of the bound: at most {difference.max():.3g}",
        ),
    ):
        image = ax.imshow(largest(values), origin="lower", aspect="auto", extent=extent, **style)
        ax.set_title(title, fontsize=10, loc="left")
        ax.set_ylabel("mel band")
        figure.colorbar(image, ax=ax, pad=0.01)
    axes[-1].set_xlabel("seconds")
    picture = io.BytesIO()
    figure.savefig(picture, dpi=80, format="png")
    plt.close(figure)
    return picture.getvalue()


def largest(values: Array) -> Array:
    """Return the maxima of ``COLUMNS`` groups of neighbours along the last axis."""
    n = values.shape[-1]
    starts = np.unique(np.arange(COLUMNS) * n // COLUMNS)
    pooled: Array = np.maximum.reduceat(values, starts, axis=-1)
    return pooled
