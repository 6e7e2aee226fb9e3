"""What an entry of the catalogue is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from whisper_mel_reference import WHISPER

from whisper_mel_conformance.quirks.path import Variation, log_mel

KINDS = (
    "input",
    "padding",
    "frames",
    "window",
    "spectrum",
    "filterbank",
    "logarithm",
    "range",
    "output",
    "batch",
    "shape",
    "errors",
    "API",
    "memory",
    "state",
    "concurrency",
    "process",
)


@dataclass(frozen=True)
class Parameter:
    """A number that a quirk has. ``grid`` are values to begin with where it has to be found;
    those between its first and its last are possible, whole numbers only if ``whole``, none but
    those on it if ``listed``."""

    name: str
    example: float
    grid: tuple[float, ...]
    whole: bool = False
    listed: bool = False

    @property
    def is_real(self) -> bool:
        """Whether it can be fitted by small changes."""
        return not (self.whole or self.listed)


@dataclass(frozen=True, eq=False)
class Quirk:
    """One way in which front-ends are wrong.

    Attributes
    ----------
    id : permanent.
    kind : of ``KINDS``.
    mechanism : what such a front-end does.
    effect : what it does to the features.
    killer : the case of the suite that is there for it.
    seen : where it was seen, as addresses; empty if we only planted it.
    since : the day it was added, ISO 8601.
    vary : the variation of the reference's path; takes the parameter's value if there is one.
    front_end : for those that are no such variation, a factory of a front-end that does it.
    parameter : a number that differs from one such front-end to the next.
    """

    id: str
    kind: str
    mechanism: str
    effect: str
    killer: str
    seen: tuple[str, ...]
    since: str
    vary: Callable[..., Variation] | None = None
    front_end: Callable[[], Any] | None = None
    parameter: Parameter | None = None

    def variation(self, value: float | None = None) -> Variation:
        """The variation with the parameter's value, or that of the example."""
        if self.vary is None:
            raise ValueError(f"quirk {self.id!r} is no variation of the reference's path")
        if self.parameter is None:
            return self.vary()
        return self.vary(self.parameter.example if value is None else value)

    def make(self) -> Any:
        """A front-end that has the quirk."""
        if self.front_end is not None:
            return self.front_end()
        return QuirkyFrontEnd([self.variation()], self.id)


class QuirkyFrontEnd:
    """The reference in float32 with some variations."""

    capabilities = {"dtypes": ("float32", "float64", "int16"), "batch": True}

    def __init__(self, variations: list[Variation], name: str) -> None:
        self._variations = variations
        self.name = name

    def log_mel(
        self,
        audio: Any,
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: Any = None,
    ) -> Any:
        """Features; see :func:`whisper_mel_reference.log_mel`."""
        wanted = WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing)
        return log_mel(audio, wanted, self._variations)
