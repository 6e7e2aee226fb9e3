"""Whisper's log-Mel features by a Mojo kernel, which is built for this machine at first use."""

from typing import Any

from whisper_mel_mojo.builder import BuildError
from whisper_mel_mojo.features import log_mel
from whisper_mel_mojo.stream import Stream

__all__ = ["BuildError", "Stream", "log_mel"]


def __getattr__(name: str) -> Any:
    """Return ``__version__``, which is read when it is asked for: that takes milliseconds."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("whisper-mel-mojo")
