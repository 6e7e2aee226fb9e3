"""Draws README's picture: a sentence's features, and the error bound of each.

    python examples/picture.py docs/features.png

Needs matplotlib (in ./dev's test environment).
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib import pyplot as plt
from whisper_mel_golden import golden_cases
from whisper_mel_reference import truth

CASE = "golden/reading/80"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="the picture to write (.png, .svg)")
    path = parser.parse_args().file

    case = {case.id: case for case in golden_cases()}[CASE]
    audio = case.audio()
    features, bound = truth(audio, case.spec)

    seconds = features.shape[1] * case.spec.hop / case.spec.sample_rate
    figure, axes = plt.subplots(2, 1, figsize=(11, 4.6), sharex=True, layout="constrained")
    panels = (
        (features, "magma", "features of a sentence, read by a person"),
        (np.log10(bound), "viridis", "the error that each may have: its bound, log10"),
    )
    for ax, (values, colours, title) in zip(axes, panels, strict=True):
        extent = (0.0, seconds, -0.5, case.n_mels - 0.5)
        image = ax.imshow(values, cmap=colours, origin="lower", aspect="auto", extent=extent)
        ax.set_title(title, fontsize=10, loc="left")
        ax.set_ylabel("mel band")
        figure.colorbar(image, ax=ax, pad=0.01)
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
