"""An image of expected and actual features and of their difference, as PNG without a library."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.report import axes

Array = NDArray[Any]

_ZOOM = 4  # pixels for each value
_LEFT, _BELOW, _ABOVE = 36, 22, 6  # pixels around a panel, for its axes
_DOT = 2  # pixels of a dot of a character
_DECADES = 6.0  # decades of the error that differ in brightness, from one bound on


def comparison(actual: Array, expected: Array, bound: Array) -> bytes:
    """Return a PNG of three panels, with bands upwards and seconds to the right.

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
    framed = [_framed(panel, height) for panel in panels]
    return encode((255.0 * np.concatenate(framed, axis=1)).astype(np.uint8))


def _framed(panel: Array, height: int) -> Array:
    """Return a panel with its axes, as an image of ``height`` pixels and what is around it."""
    n_bands, n_frames = panel.shape
    tall, wide = n_bands * _ZOOM, n_frames * _ZOOM
    image = np.ones((_ABOVE + height + _BELOW, _LEFT + wide + _ABOVE))
    pixels = np.repeat(np.repeat(panel[::-1], _ZOOM, axis=0), _ZOOM, axis=1)
    image[_ABOVE : _ABOVE + tall, _LEFT : _LEFT + wide] = pixels
    for at, label in axes.bands(n_bands, upwards=True):
        y = _ABOVE + round(tall * at / 100)
        image[y, _LEFT - 5 : _LEFT] = 0.0
        text = _text(label)
        top = min(max(y - text.shape[0] // 2, 0), _ABOVE + tall - text.shape[0])
        _put(image, text, top, _LEFT - 7 - text.shape[1])
    for at, label in axes.seconds(0, n_frames):
        x = min(_LEFT + round(wide * at / 100), image.shape[1] - 1)
        image[_ABOVE + tall : _ABOVE + tall + 5, x] = 0.0
        text = _text(label)
        left = min(max(x - text.shape[1] // 2, 0), max(image.shape[1] - text.shape[1], 0))
        _put(image, text, _ABOVE + tall + 8, left)
    return image


def _put(image: Array, text: Array, top: int, left: int) -> None:
    part = image[top : top + text.shape[0], left : left + text.shape[1]]
    part[...] = text[: part.shape[0], : part.shape[1]]


def _text(label: str) -> Array:
    """Return a label of digits, ``.``, ``s`` and spaces as pixels: 0 for dots, 1 elsewhere."""
    columns = []
    for character in label:
        rows = [[int(bit) for bit in f"{row:03b}"] for row in _FONT[character]]
        columns.append(np.pad(np.array(rows), ((0, 0), (0, 1))))
    dots = np.concatenate(columns, axis=1)
    return 1.0 - np.repeat(np.repeat(dots, _DOT, axis=0), _DOT, axis=1)


_FONT = {
    "0": (7, 5, 5, 5, 7),
    "1": (2, 6, 2, 2, 7),
    "2": (7, 1, 7, 4, 7),
    "3": (7, 1, 7, 1, 7),
    "4": (5, 5, 7, 1, 1),
    "5": (7, 4, 7, 1, 7),
    "6": (7, 4, 7, 5, 7),
    "7": (7, 1, 1, 1, 1),
    "8": (7, 5, 7, 5, 7),
    "9": (7, 5, 7, 1, 7),
    ".": (0, 0, 0, 0, 2),
    "s": (0, 3, 6, 3, 6),
    " ": (0, 0, 0, 0, 0),
}
"""Characters of axes, row by row: three dots each, as bits."""


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
