"""Audio that several test modules compute features of."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from whisper_mel_golden.signals import render


def noise(n: int, seed: int = 0, gain: float = 0.1) -> NDArray[Any]:
    """A clip of ``n`` samples of white noise, the same at each call."""
    return render({"signal": "noise", "n": n, "seed": seed, "gain": gain})
