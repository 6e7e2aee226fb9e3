"""Measurement of the bound with other maxima and in half formats.

``./dev golden variants`` writes ``docs/measurements/calibration-variants.json``: the worst score of
careful float32 front-ends with each variant, and that of ways to round that are wrong. ``./dev
docs`` shows it in ``docs/error-bound.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from checkout.paths import MEASUREMENTS
from numpy.typing import NDArray
from whisper_mel_golden.inputs import N_MELS
from whisper_mel_golden.signals import render
from whisper_mel_reference import CLASS_A, CLASS_B, WHISPER, truth
from whisper_mel_reference.bound import compare_with

from calibration import calibrate
from calibration.calibrate import Recipe, available, recipes
from calibration.front_ends import FRONT_ENDS, FrontEnd

Array = NDArray[Any]
RECORD = MEASUREMENTS / "calibration-variants.json"
COMMAND = "./dev golden variants"
_EVERY = 4
"""Every fourth clip of the calibration is measured."""


def bfloat16(y: Array, *, to_nearest: bool = True) -> Array:
    """Round float32 values to bfloat16, or cut them; the result is float32."""
    bits = np.ascontiguousarray(y, np.float32).view(np.uint32)
    if to_nearest:
        bits = bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))
    return (bits & np.uint32(0xFFFF0000)).view(np.float32)


def _cut(y: Array) -> Array:
    half = y.astype(np.float16)
    return np.where(np.abs(half) > np.abs(y), np.nextafter(half, np.float16(0)), half)


MAXIMA: dict[str, float] = {"maximum 1.5": 1.5, "maximum -2": -2.0, "maximum 6": 6.0}
ROUNDINGS: dict[str, tuple[str, str, Callable[[Array], Array]]] = {
    "float16, rounded once": ("careful", "float16", lambda y: y.astype(np.float16)),
    "bfloat16, rounded once": ("careful", "bfloat16", bfloat16),
    "float16, cut": ("fault", "float16", _cut),
    "bfloat16, cut": ("fault", "bfloat16", lambda y: bfloat16(y, to_nearest=False)),
    "bfloat16 by way of float16": (
        "fault",
        "bfloat16",
        lambda y: bfloat16(y.astype(np.float16).astype(np.float32)),
    ),
}
"""Ways to round: their kind (careful, or a fault), the format, and the rounding."""


def clips() -> dict[str, Recipe]:
    """Return the clips that are measured, by name."""
    return dict(list(recipes().items())[::_EVERY])


def careful() -> list[FrontEnd]:
    """Return the careful front-ends that are installed and take another maximum."""
    return [
        f for f in FRONT_ENDS if f.kind == "careful" and f.name != "openai-whisper" and available(f)
    ]


def measure(found: Mapping[str, Recipe]) -> dict[str, dict[str, Any]]:
    """Measure the worst score of each variant, over all clips, bands and careful front-ends.

    Of a fault it is the worst score, too: it has to be noticed on one clip.
    """
    worst: dict[str, dict[str, Any]] = {
        **{name: {"kind": "careful", "score": -1.0} for name in MAXIMA},
        **{name: {"kind": kind, "score": -1.0} for name, (kind, *_) in ROUNDINGS.items()},
    }

    def note(name: str, score: float, clip: str, front_end: FrontEnd) -> None:
        if score > worst[name]["score"]:
            worst[name].update(score=round(score, 4), clip=clip, front_end=front_end.name)

    for clip, recipe in found.items():
        audio = render(recipe)
        for n_mels in N_MELS:
            plain = truth(audio, WHISPER.replace(n_mels=n_mels))
            fixed = {
                name: truth(audio, WHISPER.replace(n_mels=n_mels, maximum=value))
                for name, value in MAXIMA.items()
            }
            for front_end in careful():
                y = front_end.log_mel(audio, n_mels)
                for name, (_, dtype, rounded) in ROUNDINGS.items():
                    note(name, compare_with(rounded(y), *plain, dtype).score, clip, front_end)
                for name, exact in fixed.items():
                    own = front_end.log_mel(audio, n_mels, MAXIMA[name])
                    note(name, compare_with(own, *exact).score, clip, front_end)
    return worst


def is_of_its_kind(row: Mapping[str, Any]) -> bool:
    """Return whether a variant scores as it must: careful ones in class A, faults in none."""
    return bool(row["score"] <= CLASS_A if row["kind"] == "careful" else row["score"] > CLASS_B)


def read() -> dict[str, Any]:
    """Read the record."""
    return calibrate.read(RECORD)


def run(arguments: list[str]) -> int:
    """Run ``./dev golden variants``, which takes no arguments; return 1 if one scores otherwise."""
    if arguments:
        sys.exit(f"golden variants {' '.join(arguments)}: expected no arguments")
    found = clips()
    rows = measure(found)
    record = {"command": COMMAND, "clips": len(found), "front_ends": len(careful()), "rows": rows}
    calibrate.write(record, RECORD)
    print(f"written: {RECORD}; `./dev docs` shows it in docs/error-bound.md")
    return 0 if all(map(is_of_its_kind, rows.values())) else 1
