"""Quirks of the signal path.

Each is a variation of the reference, so that a failing front-end can be compared with it. There is
a module for each kind, in the order of the path.
"""

from whisper_mel_conformance.quirks.signal.filterbank import FILTERBANK
from whisper_mel_conformance.quirks.signal.frames import FRAMES
from whisper_mel_conformance.quirks.signal.input import INPUT
from whisper_mel_conformance.quirks.signal.logarithm import LOGARITHM
from whisper_mel_conformance.quirks.signal.output import OUTPUT
from whisper_mel_conformance.quirks.signal.padding import PADDING
from whisper_mel_conformance.quirks.signal.range import RANGE
from whisper_mel_conformance.quirks.signal.shape import SHAPE
from whisper_mel_conformance.quirks.signal.spectrum import SPECTRUM
from whisper_mel_conformance.quirks.signal.window import WINDOW

__all__ = ["SIGNAL"]

SIGNAL = (INPUT, PADDING, FRAMES, WINDOW, SPECTRUM, FILTERBANK, LOGARITHM, RANGE, OUTPUT, SHAPE)
"""The tables, in the order of the path."""
