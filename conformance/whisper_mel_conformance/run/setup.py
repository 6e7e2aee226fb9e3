"""The setup of a run, fixed before its first case: front-ends, claims, declared failures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from whisper_mel_reference import FrontEndSpec

from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused
from whisper_mel_conformance.frontend.load import UnknownFrontEnd, model_of, peers, require_known
from whisper_mel_conformance.run import known as known_failures
from whisper_mel_conformance.run.known import KnownFailure


@dataclass
class Setup:
    """The setup that every judging process receives.

    Attributes
    ----------
    front_ends : the description of each (see :meth:`FrontEnd.described`).
    named : the names of those that the user asked for; the others are peers.
    unavailable : the reason for each peer that cannot be imported, by name.
    known : declared failures.
    profile, seed : the profile of the cases, and the seed of the drawn ones.
    timeout : the limit of a call in seconds.
    report : the folder of the report, as the user named it.
    """

    front_ends: list[dict[str, Any]]
    known: list[KnownFailure]
    profile: str = "quick"
    seed: int = 0
    timeout: float = 30.0
    named: list[str] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)
    report: str = "report"

    def started(self) -> Iterator[FrontEnd]:
        """Yield the front-ends; each starts its process at its first call."""
        for description in self.front_ends:
            yield FrontEnd.of(description, timeout=self.timeout)

    def text(self) -> str:
        """Return the setup as text for another process."""
        return json.dumps({**vars(self), "known": [entry.as_json() for entry in self.known]})


def of_text(text: str) -> Setup:
    """Create a setup from the text of :meth:`Setup.text`."""
    data = json.loads(text)
    data["known"] = [KnownFailure.of_json(entry) for entry in data["known"]]
    return Setup(**data)


def prepare(
    sources: Sequence[str],
    *,
    names: Sequence[str] = (),
    with_peers: str = "none",
    profile: str = "quick",
    seed: int = 0,
    timeout: float = 30.0,
    known_files: Sequence[Path] = (),
    model: str | None = None,
) -> Setup:
    """Load each front-end once, to learn what it declares; return the setup.

    ``sources`` name front-ends that must exist; ``names``, if given, are what the first of them are
    called. ``with_peers`` (``"none"``, ``"light"`` or ``"all"``) adds the suite's adapters that can
    be imported. ``model`` names the model whose specification all are judged by, one of
    ``whisper_mel_reference.MODELS``. Raises ``UnknownFrontEnd`` for a front-end that does not
    exist, cannot be loaded or cannot be the model's, ``ValueError`` for an invalid file of declared
    failures, an unknown model, and more names than front-ends.
    """
    if len(names) > len(sources):
        raise ValueError(f"--name {names[-1]!r}: expected one for each --frontend, {len(sources)}")
    called = dict(zip(sources, names, strict=False))
    fixed = fixed_by(model)
    known = known_failures.of_peers()
    for path in known_files:
        known += known_failures.read(path)
    setup = Setup([], known, profile, seed, timeout)
    sources = list(dict.fromkeys(sources))
    for source in sources:
        require_known(source)
    for source in sources:
        described = _described(source, timeout, fixed)
        described["name"] = called.get(source, described["name"])
        setup.front_ends.append(described)
        setup.named.append(described["name"])
    for source in peers(with_peers):
        if source in sources:
            continue
        try:
            setup.front_ends.append(_described(source, timeout, fixed))
        except _Missing as missing:
            setup.unavailable[source] = str(missing)
    if not setup.front_ends:
        raise ValueError(
            "there is nothing to judge: no front-end is named (--frontend SOURCE), and none of the "
            f"peers can be imported ({', '.join(setup.unavailable) or with_peers})"
        )
    names = [description["name"] for description in setup.front_ends]
    for name in names:
        if names.count(name) > 1:
            raise UnknownFrontEnd(f"two front-ends are called {name}")
    return setup


class _Missing(UnknownFrontEnd):
    """A module that the front-end needs cannot be imported."""


def fixed_by(model: str | None) -> dict[str, Any] | None:
    """Return what a model fixes, as :class:`Capabilities` has it; None without a model.

    Raises ``ValueError`` for an unknown name.
    """
    if model is None:
        return None
    spec = FrontEndSpec.for_model(model)
    fixed = {name: getattr(spec, name) for name in ("n_mels", "maximum", "pad_to")}
    return {"name": model, **fixed}


def _described(source: str, timeout: float, model: dict[str, Any] | None) -> dict[str, Any]:
    model = model or fixed_by(model_of(source))
    front_end = FrontEnd(source, timeout=timeout, model=model)
    try:
        front_end.start()
        return front_end.described()
    except Refused as error:
        if UnknownFrontEnd.__name__ in error.types:  # its message is complete
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
