"""Quirks of the shape of finished features."""

from __future__ import annotations

import numpy as np

from whisper_mel_conformance.quirks.table import Table

SHAPE = Table("shape")


SHAPE.add(
    "frames-by-bands",
    "Frames come first: the matrix is transposed.",
    "shape (frames, bands)",
    "https://github.com/speechbrain/speechbrain/pull/2016",
    fix="Return (bands, frames): `y = y.T`.",
    killer="boundary/length-401/80",
    features=lambda y, call: y.T,
)
SHAPE.add(
    "frames-by-bands-in-memory",
    "The matrix is written frame by frame, and read as if it were band by band.",
    "the shape is right, the values are in the wrong places",
    fix="Transpose instead of reshaping: `y = y.reshape(n_frames, n_mels).T`. C: "
    "`out[band * n_frames + frame]`.",
    since="2026-11-25",
    features=lambda y, call: np.ascontiguousarray(y.T).reshape(y.shape),
)
SHAPE.add(
    "frames-reversed",
    "The last frame comes first.",
    "frames in the wrong order",
    fix="Write frame t to column t: mind the order in which frames are appended.",
    features=lambda y, call: y[:, ::-1],
)
SHAPE.add(
    "one-band-missing",
    "[:-1] on the wrong axis: the last band is dropped, the last frame kept.",
    "shape (79, frames + 1)",
    "https://github.com/openai/whisper/pull/839",
    fix="Drop the last frame, along the last axis: `y[..., :-1]`.",
    killer="boundary/length-401/80",
    spec={"drop_last_frame": False},
    features=lambda y, call: y[:-1],
)
SHAPE.add(
    "two-frames-dropped",
    "Another frame is dropped besides the last one.",
    "one frame too few",
    fix="Drop one frame: `power[:, :-1]` once, not also where frames are counted.",
    killer="boundary/length-401/80",
    since="2026-11-25",
    features=lambda y, call: y[:, :-1],
)
SHAPE.add(
    "highest-band-dropped",
    "The last band is dropped.",
    "shape (79, frames)",
    fix="Keep all bands: a loop over bands ends at n_mels, and `np.linspace(low, high, "
    "n_mels + 2)` has two edges more than bands.",
    killer="boundary/length-401/80",
    since="2026-11-25",
    features=lambda y, call: y[:-1],
)
SHAPE.add(
    "batch-axis-kept",
    "A single clip's features keep the axis of a batch of one.",
    "shape (1, bands, frames)",
    fix="For a clip of shape (n,) return (bands, frames): `y = y[0]`.",
    killer="boundary/length-401/80",
    since="2026-11-25",
    features=lambda y, call: y[np.newaxis],
)
