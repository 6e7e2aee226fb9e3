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
    killer="boundary/length-401/80",
    features=lambda y, call: y.T,
)
SHAPE.add(
    "frames-by-bands-in-memory",
    "The matrix is written frame by frame, and read as if it were band by band.",
    "the shape is right, the values are in the wrong places",
    since="2026-11-25",
    features=lambda y, call: np.ascontiguousarray(y.T).reshape(y.shape),
)
SHAPE.add(
    "frames-reversed",
    "The last frame comes first.",
    "frames in the wrong order",
    features=lambda y, call: y[:, ::-1],
)
SHAPE.add(
    "one-band-missing",
    "[:-1] on the wrong axis: the last band is dropped, the last frame kept.",
    "shape (79, frames + 1)",
    "https://github.com/openai/whisper/pull/839",
    killer="boundary/length-401/80",
    spec={"drop_last_frame": False},
    features=lambda y, call: y[:-1],
)
SHAPE.add(
    "two-frames-dropped",
    "Another frame is dropped besides the last one.",
    "one frame too few",
    killer="boundary/length-401/80",
    since="2026-11-25",
    features=lambda y, call: y[:, :-1],
)
SHAPE.add(
    "highest-band-dropped",
    "The last band is dropped.",
    "shape (79, frames)",
    killer="boundary/length-401/80",
    since="2026-11-25",
    features=lambda y, call: y[:-1],
)
SHAPE.add(
    "batch-axis-kept",
    "A single clip's features keep the axis of a batch of one.",
    "shape (1, bands, frames)",
    killer="boundary/length-401/80",
    since="2026-11-25",
    features=lambda y, call: y[np.newaxis],
)
