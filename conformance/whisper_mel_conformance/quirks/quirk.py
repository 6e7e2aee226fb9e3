"""An entry of the catalogue, and the front-end that has its quirk."""

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
    "stream",
)


@dataclass(frozen=True)
class Parameter:
    """A number that differs between front-ends with the same quirk.

    ``example`` is its value in the catalogue's front-end. ``grid`` holds the values, in ascending
    order, at which a search for the number begins. Possible are all values between its first and
    its last: only whole numbers if ``whole``, only those of the grid if ``listed``.
    """

    name: str
    example: float
    grid: tuple[float, ...]
    whole: bool = False
    listed: bool = False

    @property
    def is_real(self) -> bool:
        """Whether the number can be fitted, because small changes make sense."""
        return not (self.whole or self.listed)


@dataclass(frozen=True, eq=False)
class Quirk:
    """One way in which front-ends are wrong.

    Attributes
    ----------
    id : permanent id.
    kind : one of ``KINDS``.
    mechanism : what such a front-end does.
    effect : what it does to the features.
    fix : what to write instead, in a line or two. Code in backticks is Python, where ``x`` is the
        clip, ``mel``, ``log`` and ``y`` its mel powers, their logarithms and the features; after
        ``C: `` it is C.
    killer : id of the case that is meant to reject it.
    seen : addresses where it was seen; empty if it was only planted here.
    since : the day it was added, ISO 8601.
    vary : a function of the parameter's value, if any, that returns the path's variation; or None.
    front_end : a factory of a front-end with the quirk if it is no variation; or None.
    parameter : the number that differs between such front-ends; or None.
    """

    id: str
    kind: str
    mechanism: str
    effect: str
    fix: str
    killer: str
    seen: tuple[str, ...]
    since: str
    vary: Callable[..., Variation] | None = None
    front_end: Callable[[], Any] | None = None
    parameter: Parameter | None = None

    def variation(self, value: float | None = None) -> Variation:
        """Return the variation for a value of the parameter (None: the example's).

        Raises ``ValueError`` if the quirk is no variation of the path.
        """
        if self.vary is None:
            raise ValueError(f"quirk {self.id!r} is no variation of the reference's path")
        if self.parameter is None:
            return self.vary()
        return self.vary(self.parameter.example if value is None else value)

    def make(self) -> Any:
        """Create a front-end that has the quirk."""
        if self.front_end is not None:
            return self.front_end()
        return QuirkyFrontEnd([self.variation()], self.id)


class QuirkyFrontEnd:
    """The reference in float32 with variations."""

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
        maximum: Any = "clip",
    ) -> Any:
        """Compute float32 features; see :func:`whisper_mel_reference.log_mel`."""
        wanted = WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing, maximum=maximum)
        return log_mel(audio, wanted, self._variations)
