"""Sanitizers, each with faults planted for it: ``./dev sanitize``."""


class Finding(Exception):
    """What a lane has found, or that it missed a fault which was planted for it, in words.

    Every other exception is a fault of the lane itself, and ends the program with a traceback.
    """


class Absent(Exception):
    """The reason why a lane cannot run on this machine, in words."""


def demand(holds: object, finding: str) -> None:
    """Raise a ``Finding`` with these words unless ``holds`` is true."""
    if not holds:
        raise Finding(finding)
