"""Quirks of the signal path: each a variation of the reference, so that a failing front-end can be
compared with it. Stage by stage, as the signal goes."""

from whisper_mel_conformance.quirks.signal.filterbank import FILTERBANK
from whisper_mel_conformance.quirks.signal.frames import FRAMES
from whisper_mel_conformance.quirks.signal.input import INPUT
from whisper_mel_conformance.quirks.signal.levels import LEVELS
from whisper_mel_conformance.quirks.signal.output import OUTPUT
from whisper_mel_conformance.quirks.signal.spectrum import SPECTRUM
from whisper_mel_conformance.quirks.signal.window import WINDOW

__all__ = ["SIGNAL"]

SIGNAL = [*INPUT, *FRAMES, *WINDOW, *SPECTRUM, *FILTERBANK, *LEVELS, *OUTPUT]
