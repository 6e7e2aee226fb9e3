"""Draws README's picture: a sentence's features, those of a faulty front-end, their difference.

    python examples/picture.py docs/features.png

Needs matplotlib (in ./dev's test environment).
"""

from __future__ import annotations

import argparse

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_golden import golden_cases
from whisper_mel_reference import truth

CASE = "golden/reading/80"
QUIRK = "symmetric-window"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="the picture to write (.png, .svg)")
    path = parser.parse_args().file

    case = {case.id: case for case in golden_cases()}[CASE]
    audio = case.audio()
    features, bound = truth(audio, case.spec)

    wrong = CATALOGUE[QUIRK].make().log_mel(audio)

    seconds = features.shape[1] * case.spec.hop / case.spec.sample_rate
    figure, axes = plt.subplots(3, 1, figsize=(11, 6.4), sharex=True, layout="constrained")
    panels = (
        (features, "magma", None, "right: the features of a sentence, read by a person"),
        (wrong, "magma", None, "wrong: the same by a symmetric window"),
        (np.abs(wrong - features) / bound, "inferno", LogNorm(1, 1e4), "difference, in bounds"),
    )
    for ax, (values, colours, norm, title) in zip(axes, panels, strict=True):
        extent = (0.0, seconds, -0.5, case.n_mels - 0.5)
        look = {"cmap": colours, "norm": norm, "extent": extent}
        image = ax.imshow(values, origin="lower", aspect="auto", **look)
        ax.set_title(title, fontsize=10, loc="left")
        ax.set_ylabel("mel band")
        figure.colorbar(image, ax=ax, pad=0.01)
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
