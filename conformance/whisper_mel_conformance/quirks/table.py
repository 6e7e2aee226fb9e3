"""Tables that quirks are added to, one for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from whisper_mel_reference import WHISPER
from whisper_mel_reference import log_mel as reference

from whisper_mel_conformance.quirks.path import Hook, Variation
from whisper_mel_conformance.quirks.quirk import KINDS, Parameter, Quirk

Array = Any
Maker = TypeVar("Maker", bound=Callable[..., Any])

_SINCE = "2026-11-24"
_KILLER = "numerics/rising-noise/80"


class Table:
    """The quirks of one kind, in the order in which they are added.

    A quirk has an id, a mechanism, an effect, the addresses where it was seen, and a fix.
    """

    def __init__(self, kind: str) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r}: expected one of {', '.join(KINDS)}")
        self.kind = kind
        self.quirks: list[Quirk] = []

    def add(
        self,
        id: str,
        mechanism: str,
        effect: str,
        *seen: str,
        fix: str,
        killer: str = _KILLER,
        since: str = _SINCE,
        spec: dict[str, Any] | None = None,
        fft_size: int | None = None,
        **stages: Hook,
    ) -> None:
        """Add a variation of the path: fields of the specification, and stages."""
        variation = Variation(spec or {}, stages, fft_size)
        self.quirks.append(
            Quirk(
                id, self.kind, mechanism, effect, fix, killer, seen, since, vary=lambda: variation
            )
        )

    def add_family(
        self,
        id: str,
        mechanism: str,
        effect: str,
        parameter: Parameter,
        vary: Callable[[float], Variation],
        *seen: str,
        fix: str,
        killer: str = _KILLER,
        since: str = _SINCE,
    ) -> None:
        """Add a variation of the path with a parameter; ``vary`` takes its value."""
        self.quirks.append(
            Quirk(
                id,
                self.kind,
                mechanism,
                effect,
                fix,
                killer,
                seen,
                since,
                vary,
                parameter=parameter,
            )
        )

    def front_end(
        self,
        id: str,
        mechanism: str,
        effect: str,
        *seen: str,
        fix: str,
        killer: str,
        since: str = _SINCE,
    ) -> Callable[[Maker], Maker]:
        """Decorate a function that is a front-end with a quirk, or a class whose objects are.

        A class is for a front-end that keeps something between calls: each is a new object.
        """

        def add(maker: Maker) -> Maker:
            make = maker if isinstance(maker, type) else lambda: maker
            self.quirks.append(
                Quirk(id, self.kind, mechanism, effect, fix, killer, seen, since, front_end=make)
            )
            return maker

        return add


def right(audio: Array, n_mels: int = 80, **options: Any) -> Array:
    """Compute right float32 features, for quirks that spoil something else."""
    spec = WHISPER.replace(n_mels=n_mels, **options)
    return reference(np.ascontiguousarray(audio), spec, dtype=np.float32)
