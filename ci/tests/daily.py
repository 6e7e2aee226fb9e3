"""What of a test is tried by day, and what only at night."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def by_day(parameters: Iterable[Any], chosen: Collection[Any]) -> list[Any]:
    """The parameters of a test; all but the chosen are marked as nightly. A tuple has the values of
    several arguments, or of one that is a tuple itself.
    """
    every = [*parameters]
    assert chosen and all(it in every for it in chosen), f"{chosen}: expected of {every}"
    return [
        pytest.param(
            *(it if isinstance(it, tuple) else (it,)),
            marks=() if it in chosen else pytest.mark.nightly,
        )
        for it in every
    ]
