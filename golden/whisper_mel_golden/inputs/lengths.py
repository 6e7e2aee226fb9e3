"""Lengths and numbers of frames next to those where something changes."""

from __future__ import annotations

from itertools import product

from whisper_mel_golden.inputs.entry import PLAIN, SMOOTHED, WINDOW, Variant, entry, recipe
from whisper_mel_golden.signals import HOP

_SHORT = (201, 202, 239, 240, 241, 319, 320, 321, 359, 360, 399, 400, 401)
_MEDIUM = (479, 480, 481, 559, 560, 639, 640, 641)
_SECOND = (15_999, 16_000, 16_039, 16_079, 16_080, 16_159)
_FRAMES = (63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025)
_CORNERS = list(product(("first", "last"), ("lowest", "highest")))
_RESTS = (0, 1, 80, 159)

INPUTS = (
    *(
        entry(
            f"length-{n}",
            f"{n} samples: {n // HOP} frames and {n % HOP} samples more",
            "noise length ends",
            recipe("noise", n, seed=n, gain=0.2),
            SMOOTHED if n in (480, 640) else PLAIN,
        )
        for n in (*_SHORT, *_MEDIUM, *_SECOND)
    ),
    *(
        entry(
            f"length-{n}-padded",
            f"{n} samples, padded to {pad_to}",
            "noise length ends" + (" floor" if pad_to > 8160 else ""),
            recipe("noise", n, seed=n, gain=0.2),
            (Variant(pad_to),),
        )
        for n, pad_to in (
            (1, 480_000),
            (160, 201),
            (200, 201),
            (201, 400),
            (400, 400),
            (8000, 8160),
        )
    ),
    *(
        entry(
            f"tail-{n}",
            f"the last 60 of {n} samples are loud: the dropped frame hears them best",
            "noise ends maximum length",
            recipe("loud_tail", n, seed=n),
        )
        for n in (240, 400, 4080, 16_080)
    ),
    *(
        entry(
            f"end-of-{n}",
            f"only the last 400 of {n} samples are not silent",
            "noise frames ends maximum clamped floor",
            recipe("burst", n, seed=40, start=n - 400, gain=0.5),
        )
        for n in (WINDOW - 1, WINDOW, WINDOW + 1, WINDOW + HOP)
    ),
    # The clip's maximum in each corner, for numbers of frames next to powers of two
    *(
        entry(
            f"corner-{frames}-{frame}-{band}",
            f"the maximum is in the {frame} of {frames} frames, in the {band} band",
            "tonal maximum frames ends clamped",
            recipe(
                "corner",
                frames * HOP + _RESTS[(i + k) % len(_RESTS)],
                seed=frames,
                frame=frame,
                band=band,
                # Most values of long clips are clamped, half of short ones: so each file has a few
                # kilobytes
                noise_db=-60.0 if frames < 1000 else -75.0,
                gain=0.9,
            ),
        )
        for i, frames in enumerate(_FRAMES)
        for k, (frame, band) in enumerate(_CORNERS)
    ),
)
