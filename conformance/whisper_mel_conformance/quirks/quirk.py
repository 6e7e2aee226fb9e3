"""The entry of the catalogue, and the front-end that has it."""

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
    """A number that a quirk has.

    ``example`` is the value that the catalogue's front-end has. ``grid`` holds the values, least
    first, with which a search for the number begins. Values between its first and its last are
    possible: whole numbers only if ``whole``, those of the grid only if ``listed``.
    """

    name: str
    example: float
    grid: tuple[float, ...]
    whole: bool = False
    listed: bool = False

    @property
    def is_real(self) -> bool:
        """Whether small changes of the number make sense, so that it can be fitted."""
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
        """Return the variation with this value of the parameter, None for that of the example.

        Raises ``ValueError`` if the quirk is no variation of the path.
        """
        if self.vary is None:
            raise ValueError(f"quirk {self.id!r} is no variation of the reference's path")
        if self.parameter is None:
            return self.vary()
        return self.vary(self.parameter.example if value is None else value)

    def make(self) -> Any:
        """Make a front-end that has the quirk."""
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
        """Compute float32 features; see :func:`whisper_mel_reference.log_mel`."""
        wanted = WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing)
        return log_mel(audio, wanted, self._variations)
