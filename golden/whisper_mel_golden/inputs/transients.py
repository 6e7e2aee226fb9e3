"""Clicks: at the edges of frames and of the clip, alone and in trains."""

from __future__ import annotations

from whisper_mel_golden.inputs.entry import SECOND, SMOOTHED, entry, recipe
from whisper_mel_golden.signals import HOP

_FRAME, _LAST = 20, 29  # the frames that clicks are in

INPUTS = (
    *(
        entry(
            f"click-at-{offset}",
            f"a click {offset} samples into a frame, under the window's edge",
            "transient clamped floor",
            recipe("click", 4800, at=_FRAME * HOP - 200 + offset, gain=0.9),
        )
        for offset in (0, 1, 2, 3, 396, 397, 398, 399)
    ),
    # n % 160 = 159: samples that only the last kept frame hears, 396 to 399 samples into it.
    *(
        entry(
            f"click-at-last-{offset}",
            f"a loud click {offset} samples into the last kept frame: no other one hears it",
            "transient floor above-one ends maximum",
            recipe("click", (_LAST + 1) * HOP + 159, at=_LAST * HOP - 200 + offset, gain=1000.0),
        )
        for offset in (396, 397, 398, 399)
    ),
    entry(
        "click-first",
        "a click on the first sample",
        "transient clamped floor ends maximum",
        recipe("click", 4800, gain=0.9),
    ),
    entry(
        "click-last",
        "a click on the last sample",
        "transient floor ends maximum",
        recipe("click", 4800, at=-1, gain=0.9),
    ),
    entry(
        "clicks",
        "clicks at random places over noise at -100 dB",
        "transient clamped",
        recipe("clicks", SECOND, seed=30, spacing=700, quiet_db=-100.0),
        SMOOTHED,
    ),
    entry(
        "click-train",
        "a click every 161 samples: one in each place of a frame",
        "transient",
        recipe("click_train", 26_000, period=HOP + 1, gain=0.5),
    ),
    entry(
        "click-train-40ms",
        "a click every 640 samples: some frames hear none",
        "transient clamped floor",
        recipe("click_train", 8000, period=640, offset=77, gain=0.5),
    ),
)
