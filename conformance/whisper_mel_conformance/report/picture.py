"""An image of expected and actual features and of their difference, as PNG without a library."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_ZOOM = 4  # pixels for each value
_GUTTER = 8  # pixels between the panels
_DECADES = 6.0  # decades of the error that differ in brightness, from one bound on


def comparison(actual: Array, expected: Array, bound: Array) -> bytes:
    """Return a PNG of three panels, with bands upwards and frames to the right.

    They show the expected features, the actual ones, and the error (black: within the bound; white:
    a million bounds, or not finite). There is no panel of errors if the shapes differ.
    """
    low, high = float(expected.min()), float(expected.max())
    panels = [shades(expected, low, high), shades(actual, low, high)]
    if actual.shape == expected.shape:
        with np.errstate(all="ignore"):
            excess = np.log10(np.abs(actual - expected) / bound) / _DECADES
        panels.append(np.clip(np.nan_to_num(excess, nan=1.0, posinf=1.0, neginf=0.0), 0.0, 1.0))
    height = max(panel.shape[0] for panel in panels) * _ZOOM
    columns = []
    for panel in panels:
        pixels = np.repeat(np.repeat(panel[::-1], _ZOOM, axis=0), _ZOOM, axis=1)
        columns += [
            np.pad(pixels, ((0, height - pixels.shape[0]), (0, 0)), constant_values=0.5),
            np.full((height, _GUTTER), 0.5),
        ]
    return encode((255.0 * np.concatenate(columns[:-1], axis=1)).astype(np.uint8))


def shades(values: Array, low: float, high: float) -> Array:
    """Return the positions of values between two others, 0 to 1; 1 for NaN."""
    with np.errstate(all="ignore"):
        part = (np.asarray(values, np.float64) - low) / max(high - low, 1e-9)
    return np.nan_to_num(np.clip(part, 0.0, 1.0), nan=1.0)


def encode(pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Encode an image of shape ``(height, width)`` as PNG (ISO/IEC 15948).

    Pixels are shades of grey, or indices into a palette of shape ``(colours, 3)``.
    """
    height, width = pixels.shape
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()  # each line begins with filter 0: none
    kind = 0 if palette is None else 3
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    chunks += [] if palette is None else [(b"PLTE", palette.tobytes())]
    chunks += [(b"IDAT", zlib.compress(lines, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
