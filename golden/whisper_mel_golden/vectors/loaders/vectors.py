"""Judges a front-end by the vectors; needs NumPy."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np


def judge(folder: str, log_mel: Callable[[Any, int, int], Any]) -> tuple[float, str]:
    """Return the worst score, and the name of its case; scores up to 4 conform.

    ``log_mel(audio, n_mels, pad_to)`` returns features ``(n_mels, frames)`` of float32 samples,
    which zeros follow up to ``pad_to``; 0 stands for none.
    """

    def read(kind: str, name: str) -> Any:
        return np.load(os.path.join(folder, kind, f"{name}.npy"))

    scores = []
    with open(os.path.join(folder, "cases.txt")) as cases:
        for line in cases:
            name, source, dtype, _, n_mels, pad_to, smoothing, *_ = line.split()
            if smoothing != "none":  # no part of Whisper
                continue
            audio, expected = read("inputs", source), read("expected", name)
            if dtype == "int16":
                audio = audio / np.float32(32768)
            features = np.asarray(log_mel(audio, int(n_mels), int(pad_to)))
            if features.shape == expected.shape:
                error = np.abs(features - expected) / read("bounds", name)
                scores.append((float(np.nan_to_num(error, nan=np.inf).max()), name))
            else:
                scores.append((np.inf, f"{name} of shape {features.shape}, not {expected.shape}"))
    if not scores:
        raise ValueError(f"{folder}: nothing to judge by in cases.txt")
    return max(scores)
