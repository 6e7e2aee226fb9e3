"""How a front-end can fail: it refuses, says that it cannot, or breaks what all must keep."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


class Broken(Exception):
    """The front-end did what no front-end may do, whatever the features are: no refusal.

    Raised beside the front-end, in its process; the judge has a :class:`Failure` then.
    """


class Refused(Exception):
    """The front-end raised an exception.

    Attributes are its ``types`` (the names of its class and that class's bases), its ``message``
    and its ``traceback``, as they can be printed.
    """

    def __init__(self, types: list[str], message: str, traceback: str) -> None:
        super().__init__(f"{types[0]}: {message}")
        self.types = types
        self.message = message
        self.traceback = traceback


class Unsupported(Exception):
    """The front-end says that it cannot do this."""


class Failure(Exception):
    """A front-end fails a case.

    ``score`` where its features were scored; ``hard`` where its process was lost; ``arrays``
    (``actual``, ``expected``, ``bound``) are for the reproduction.
    """

    def __init__(
        self,
        message: str,
        *,
        score: float | None = None,
        hard: bool = False,
        arrays: dict[str, Array] | None = None,
    ) -> None:
        super().__init__(message)
        self.score = score
        self.hard = hard
        self.arrays = arrays or {}
