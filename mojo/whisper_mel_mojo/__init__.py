"""Whisper's log-Mel features by a Mojo kernel, which is built for this machine at first use."""

from whisper_mel_mojo.builder import BuildError
from whisper_mel_mojo.features import log_mel

__all__ = ["BuildError", "log_mel"]
