"""The kernel as the conformance suite sees it (entry-point group ``whisper_mel.frontends``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whisper_mel_mojo.features import log_mel


class FrontEnd:
    """A front-end under test: what it is called, what it claims, and the function itself."""

    def __init__(self, name: str, device: str, capabilities: Mapping[str, Any]) -> None:
        self.name = name
        self.device = device
        self.capabilities = capabilities

    log_mel = staticmethod(log_mel)


mojo_cpu = FrontEnd(
    "mojo-cpu",
    "cpu",
    {
        "n_mels": (80, 128),
        "smoothing": (None, "valid", "same"),
        "pad_to": True,
        "dtypes": ("float32", "float64", "int16"),
        "batch": True,
        "max_samples": None,
        "errors": "strict",
        "out": True,
        "required_class": "A",
    },
)
