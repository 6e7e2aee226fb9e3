"""The ways in which a front-end fails: it refuses, cannot do something, or breaks the contract."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


class Broken(Exception):
    """A breach of the calling contract, which is no refusal of the input.

    It is raised in the front-end's process; the judge raises a :class:`Failure` for it.
    """


class Refused(Exception):
    """An exception that the front-end raised.

    ``types`` are the names of its class and of the base classes; ``message`` and ``traceback`` are
    printable text.
    """

    def __init__(self, types: list[str], message: str, traceback: str) -> None:
        super().__init__(f"{types[0]}: {message}")
        self.types = types
        self.message = message
        self.traceback = traceback


class Unsupported(Exception):
    """The front-end's word that it cannot do what is asked."""


class Failure(Exception):
    """The failure of a case.

    ``score`` is None unless features were scored. ``hard`` is true if the process was lost.
    ``arrays`` (``actual``, ``expected``, ``bound``) are stored with the reproduction.
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
