"""What is decided before the first case: which front-ends, what they claim, what is declared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused
from whisper_mel_conformance.frontend.load import UnknownFrontEnd, peers, require_known
from whisper_mel_conformance.run import known as known_failures
from whisper_mel_conformance.run.known import KnownFailure


@dataclass
class Setup:
    """What every process that judges is told.

    Attributes
    ----------
    front_ends : what each said of itself (see :meth:`FrontEnd.described`).
    named : the names of those that were asked for; the others are peers beside them.
    unavailable : peers that cannot be imported, by name, and why.
    known : declared failures.
    profile, seed : which cases, and which drawn ones.
    timeout : seconds a call.
    """

    front_ends: list[dict[str, Any]]
    known: list[KnownFailure]
    profile: str = "quick"
    seed: int = 0
    timeout: float = 30.0
    named: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)

    def started(self) -> Iterator[FrontEnd]:
        """The front-ends, described; a process is started when one is first called."""
        for description in self.front_ends:
            yield FrontEnd.of(description, timeout=self.timeout)

    def text(self) -> str:
        """For another process."""
        return json.dumps({**vars(self), "known": [entry.as_json() for entry in self.known]})


def of_text(text: str) -> Setup:
    """The setup of :meth:`Setup.text`."""
    data = json.loads(text)
    data["known"] = [KnownFailure.of_json(entry) for entry in data["known"]]
    return Setup(**data)


def prepare(
    sources: Sequence[str],
    *,
    with_peers: str = "none",
    profile: str = "quick",
    seed: int = 0,
    timeout: float = 30.0,
    known_files: Sequence[Path] = (),
) -> Setup:
    """Load each front-end once, to learn what it is and claims.

    ``sources`` name front-ends that must be there; of the suite's adapters those that
    ``with_peers`` says (``"none"``, ``"light"`` or ``"all"``) and that can be imported are judged,
    too. Raises ``UnknownFrontEnd`` for a front-end that does not exist or cannot be loaded,
    ``ValueError`` for a broken file of known failures.
    """
    known = known_failures.of_peers()
    for path in known_files:
        known += known_failures.read(path)
    setup = Setup([], known, profile, seed, timeout)
    sources = list(dict.fromkeys(sources))
    for source in sources:
        require_known(source)
    for source in sources:
        setup.front_ends.append(_described(source, timeout))
        setup.named.append(setup.front_ends[-1]["name"])
    for source in peers(with_peers):
        if source in sources:
            continue
        try:
            setup.front_ends.append(_described(source, timeout))
        except _Missing as missing:
            setup.unavailable[source] = str(missing)
    names = [description["name"] for description in setup.front_ends]
    for name in names:
        if names.count(name) > 1:
            raise UnknownFrontEnd(f"two front-ends are called {name}")
    return setup


class _Missing(UnknownFrontEnd):
    """What a front-end needs cannot be imported."""


def _described(source: str, timeout: float) -> dict[str, Any]:
    front_end = FrontEnd(source, timeout=timeout)
    try:
        front_end.start()
        return front_end.described()
    except Refused as error:
        if UnknownFrontEnd.__name__ in error.types:  # says all there is to say
            raise UnknownFrontEnd(error.message) from error
        if "ImportError" in error.types and source in peers():
            raise _Missing(error.message) from error
        raise UnknownFrontEnd(
            f"front-end {source!r} cannot be loaded: {error}\n{error.traceback}"
        ) from error
    except Failure as error:
        raise UnknownFrontEnd(f"front-end {source!r} cannot be loaded: {error}") from error
    finally:
        front_end.stop()
