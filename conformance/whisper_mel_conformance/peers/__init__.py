"""Front-ends in the wild, each as its users call it. One module each, imported only when judged.

Where an implementation differs from Whisper's front-end, the adapter leaves that in: the
difference is what there is to see. What an implementation has no way to do raises
``NotImplementedError`` or is not claimed.
"""

from __future__ import annotations

from importlib.metadata import version


def versions(*distributions: str) -> dict[str, str]:
    """The installed versions of some distributions, by name."""
    return {name: version(name) for name in distributions}
