"""Sanitizers, each with faults planted for it: ``./dev sanitize``."""


class Finding(Exception):
    """A fault that a lane found, or a planted fault that it missed, in words.

    Other exceptions are errors of the lane itself and end the program with a traceback.
    """


class Absent(Exception):
    """The reason why a lane cannot run on this machine, in words."""


def demand(holds: object, finding: str) -> None:
    """Raise a ``Finding`` with these words unless ``holds`` is true."""
    if not holds:
        raise Finding(finding)
