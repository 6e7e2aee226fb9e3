"""Under which condition a front-end is wrong: what its wrong calls share, and its right ones lack.

From a call that is wrong others are made that differ from it in one property, and are asked for.
What is said was found so, and holds for every call that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from whisper_mel_conformance.cases.recipes import rising
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.asked import Asked, Finder, Part
from whisper_mel_conformance.diagnosis.lengths import LENGTHS, LONGER, of_length
from whisper_mel_conformance.diagnosis.loudest import CLIP, PLACES, of_maximum, with_loudest
from whisper_mel_conformance.diagnosis.requests import with_length
from whisper_mel_conformance.diagnosis.values import (
    BATCHES,
    LAYOUTS,
    OFFSETS,
    PROPERTIES,
    of_address,
    of_values,
)

_SHOWN = 0.7  # part of the calls with the condition that must be wrong: not every clip shows it


@dataclass(frozen=True, eq=False)
class Condition:
    """Properties that all wrong calls have, and right ones have not; ``counted`` says of how many
    calls that is known."""

    parts: Sequence[Part]
    counted: str

    @property
    def words(self) -> str:
        """The properties, to follow "it is wrong"."""
        return ", ".join(part.words for part in self.parts)

    @property
    def sentence(self) -> str:
        """The condition, and of how many calls it is known."""
        return f"It is wrong {self.words} only: {self.counted}"

    def holds(self, request: Request) -> bool:
        """Return whether a request has all properties."""
        return all(part.holds(request) for part in self.parts)

    def put(self, request: Request) -> Request:
        """Return a request with all properties, otherwise like the given one."""
        for part in self.parts:
            request = part.put(request)
        return request


def ask_around(asked: Asked) -> None:
    """Ask for a plain clip with each value of each property, until a call is wrong.

    Nothing is asked for where one is wrong already, and of programs that start for each call.
    """
    if asked.able.process_per_call or asked.witness is not None:
        return
    clip = rising(2112, 937)
    plain = Request(clip, n_mels=asked.able.n_mels[0]).of_model(asked.able)
    for property in (BATCHES, LAYOUTS, *PROPERTIES):
        for value in property.values(asked.able):
            if asked.is_wrong(property.put(plain, value)):
                return
    for layout in OFFSETS.values():
        if asked.is_wrong(replace(plain, layout=layout)):
            return
    for at in PLACES:
        if asked.is_wrong(with_loudest(plain, CLIP, at)):
            return
    for n in (*LENGTHS, *LONGER):
        if asked.is_wrong(replace(plain, recipe=with_length(clip, n))):
            return


def find_condition(asked: Asked) -> Condition | None:
    """Find the condition under which a front-end is wrong; None if there is none that holds."""
    if asked.witness is None:
        return None
    request = asked.witness
    parts: list[Part] = []

    def look(*finders: Finder) -> None:
        nonlocal request
        for find_part in finders:
            part, request = find_part(asked, request)
            if part is not None:
                parts.append(part)
                return

    look(of_values(BATCHES))
    look(of_address, of_values(LAYOUTS))
    for property in PROPERTIES:
        look(of_values(property))
    look(of_maximum, of_length)
    # A property may go with another one in some clips alone: quiet ones are silent as int16.
    fewer = [[*parts[:i], *parts[i + 1 :]] for i in range(len(parts))]
    tried = [*((some, 1.0) for some in fewer), *((some, _SHOWN) for some in (parts, *fewer))]
    verified = (_verified(some, asked.calls, shown) for some, shown in tried)
    return next((condition for condition in verified if condition is not None), None)


def _verified(
    parts: Sequence[Part], calls: Sequence[tuple[Request, bool]], shown: float
) -> Condition | None:
    """Return the condition if each wrong call has it, and of those that have it ``shown`` are
    wrong, a part of 1."""
    have = [is_wrong for call, is_wrong in calls if all(part.holds(call) for part in parts)]
    wrong, others = sum(have), len(calls) - len(have)
    if not parts or wrong < sum(is_wrong for _, is_wrong in calls) or not others:
        return None
    if not wrong >= shown * len(have):
        return None
    return Condition(
        parts, f"on {wrong} of {len(have)} such calls, and on none of {others} others."
    )
