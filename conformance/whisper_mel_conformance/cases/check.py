"""Checks: each a question that can be put to a front-end, given as plain data.

A check is a function of a :class:`FrontEnd` and of JSON arguments, so that a failure can be written
down and replayed. Those of the arguments that are fields of a :class:`Request` reach it as its
``request``, and ``calls`` as a list of requests. It returns the worst score (None where nothing is
scored) and raises ``Failure``; ``Refused`` and ``Unsupported`` of the front-end pass through it
unless the check says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from inspect import signature
from typing import Any

from whisper_mel_reference import FrontEndSpec

from whisper_mel_conformance.cases import judging
from whisper_mel_conformance.cases.recipes import Array
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused
from whisper_mel_conformance.frontend.load import Capabilities


class Remark(Exception):
    """What is to be said of a front-end that passes."""


Arguments = Mapping[str, Any]
Asked = Callable[..., "float | None"]

CHECKS: dict[str, Check] = {}
"""Every check by its name. Import it from the catalogue, which imports all checks."""

_FIELDS = {field.name: field.default for field in fields(Request)}
_OPTIONAL = {name: value for name, value in _FIELDS.items() if name not in ("recipe", "recipes")}


_WHISPERS = Capabilities()
"""The capabilities of a front-end that is judged by Whisper's specification."""


@dataclass(frozen=True)
class Check:
    """A question to a front-end.

    Attributes
    ----------
    function : puts the question; takes the front-end and the arguments.
    asks : takes the arguments; returns the requests that the check makes of a front-end.
    alone : whether it measures memory or threads. Such checks run one at a time on a machine.
    threads : the libraries on whose number of threads the answer may depend, of
    ``THREAD_SETTINGS``. They have several, as on a user's machine:
    see :meth:`FrontEnd.allow_threads`.
    """

    function: Asked
    asks: Callable[..., Iterable[Request]]
    alone: bool
    threads: Collection[str]

    def __call__(self, front_end: FrontEnd, **arguments: Any) -> float | None:
        """Put the question to a front-end; the arguments are plain data, as in ``case.json``."""
        front_end.allow_threads(self.threads)
        return self.function(front_end, **_read(arguments, front_end.capabilities))

    def requests(self, arguments: Arguments, able: Capabilities = _WHISPERS) -> list[Request]:
        """Return the requests that it makes of a front-end with these capabilities.

        There are none where the arguments are still to be drawn.
        """
        asked = self.asks(**_read(arguments, able)) if arguments else []
        return [request.of_model(able) for request in asked]

    def specification(self, arguments: Arguments, able: Capabilities = _WHISPERS) -> FrontEndSpec:
        """Return what specifies the features of its first request."""
        return next(iter(self.requests(arguments, able)), Request()).spec()

    @property
    def defaults(self) -> dict[str, Any]:
        """The arguments that can be left out, with the values that they have then."""
        own = signature(self.function).parameters.values()
        return _OPTIONAL | {p.name: p.default for p in own if p.default is not p.empty}


def check(
    asks: Callable[..., Iterable[Request]] | None = None,
    *,
    alone: bool = False,
    threads: Collection[str] = (),
) -> Callable[[Asked], Asked]:
    """Register a check under its function's name.

    ``asks`` may be left out if the check asks for its ``request`` or its ``calls``, and for nothing
    else. Raises ``TypeError`` if it is left out and the check has neither: what front-ends must
    claim to be asked would not be known.
    """

    def register(function: Asked) -> Asked:
        if asks is None and not {"request", "calls"} & {*signature(function).parameters}:
            raise TypeError(f"check {function.__name__}: expected asks=, request or calls")
        CHECKS[function.__name__] = Check(function, asks or _as_given, alone, threads)
        return function

    return register


def _read(arguments: Arguments, able: Capabilities) -> dict[str, Any]:
    """Return the arguments as functions take them: with requests for what describes them.

    What the arguments leave open is what the model fixes that the front-end is judged by.
    """

    def request(fields: Arguments) -> Request:
        bands = {} if able.model is None else {"n_mels": able.model["n_mels"]}
        return Request(**{**bands, **fields}).of_model(able)

    read = {name: value for name, value in arguments.items() if name not in _FIELDS}
    if len(read) < len(arguments):
        read["request"] = request({k: v for k, v in arguments.items() if k in _FIELDS})
    if "calls" in read:
        read["calls"] = [request(call) for call in read["calls"]]
    return read


def _as_given(
    *, request: Request | None = None, calls: Iterable[Request] = (), **_others: Any
) -> Iterable[Request]:
    return calls if request is None else [request]


# --------------------------------------------------------------------------- what many checks do


def judge(
    front_end: FrontEnd, actual: Array, audio: Array, spec: FrontEndSpec, **more: Any
) -> float:
    """:func:`whisper_mel_conformance.cases.judging.judge`, by the class that is required."""
    limit = judging.LIMITS[front_end.capabilities.required_class]
    return judging.judge(actual, audio, spec, limit, **more)


def judge_request(front_end: FrontEnd, request: Request, where: str = "") -> float:
    """Ask for the features of one clip and judge them; ``where`` begins a failure's message."""
    request = request.of_model(front_end.capabilities)
    audio = request.audio()
    actual = front_end.call(audio, **request.options())
    return judge(front_end, actual, audio, request.spec(), where=where, dtype=request.dtype)


def require_strictness(front_end: FrontEnd, refusal: Refused, names: str | None) -> None:
    """Fail a front-end that promises the error policy and refuses otherwise than it says.

    The message must name ``names``; None means that nothing may be refused.
    """
    if front_end.capabilities.errors != "strict":
        return
    if names is None:
        raise Failure(f"refused what must be accepted: {refusal}")
    if not {"ValueError", "TypeError"} & set(refusal.types):
        raise Failure(f"raised {refusal}: expected ValueError or TypeError")
    if names not in refusal.message:
        raise Failure(f"raised {refusal}: expected the message to name {names}")
