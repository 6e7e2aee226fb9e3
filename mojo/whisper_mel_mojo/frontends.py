"""The kernel as the conformance suite sees it (entry-point group ``whisper_mel.frontends``)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from whisper_mel_mojo import gpu_host, lockstep
from whisper_mel_mojo.cuda import driver
from whisper_mel_mojo.features import log_mel


class FrontEnd:
    """A front-end under test: what it is called, what it claims, and the function itself."""

    capabilities: Mapping[str, Any] = {
        "n_mels": (80, 128),
        "smoothing": (None, "valid", "same"),
        "pad_to": True,
        "dtypes": ("float32", "float64", "int16"),
        "batch": True,
        "max_samples": None,
        "errors": "strict",
        "out": True,
        "required_class": "A",
    }

    def __init__(self, name: str, log_mel: Callable[..., Any], device: str = "cpu") -> None:
        self.name = name
        self.log_mel = log_mel
        self.device = device


mojo_cpu = FrontEnd("mojo-cpu", log_mel)
mojo_lockstep = FrontEnd("mojo-lockstep", lockstep.log_mel)
mojo_lockstep_cluster = FrontEnd(
    "mojo-lockstep-cluster", functools.partial(lockstep.log_mel, clusters=True)
)


def mojo_gpu() -> FrontEnd:
    """Made when it is asked for: raises ``DeviceError`` where there is no CUDA device."""
    driver()
    return FrontEnd("mojo-gpu", gpu_host.log_mel, device="cuda")
