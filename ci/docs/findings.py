"""The tables of docs/findings.md: what was found in others, and their worst known inputs."""

from __future__ import annotations

import math

from whisper_mel_conformance.run import known
from worst import inputs

from docs import front_ends
from docs.sections import table


def found() -> str:
    """Return a table of the declared failures of all adapters, by project."""
    entries = sorted(known.of_peers(), key=lambda entry: entry.front_end)
    head = ["project", "version", "what it does", "effect", "found by", "since"]
    return table(head, map(_row, entries))


def _row(entry: known.KnownFailure) -> list[str]:
    project = f"[{entry.front_end}]({entry.link})"
    tests = f"{_count(_cases(entry))}, such as `{_example(entry)}`"
    day = entry.since.isoformat()
    return [project, entry.version, entry.mechanism, entry.effect, tests, day]


def _cases(entry: known.KnownFailure) -> list[str]:
    """List the recorded cases that the entry declares; its patterns if it was not judged since."""
    judged = front_ends.read().get(entry.front_end, {"declared": []})
    found = [it["cases"] for it in judged["declared"] if it["title"] == entry.title]
    return next(filter(None, found), list(entry.patterns))


def _example(entry: known.KnownFailure) -> str:
    return min(_cases(entry), key=lambda case: (len(case), case))


def _count(cases: list[str]) -> str:
    return f"{len(cases)} {'case' if len(cases) == 1 else 'cases'}"


def worst() -> str:
    """Return a table of the worst known input of each version of each front-end."""
    head = ["front-end", "version", "worst score:", "clip", "bands:", "found"]
    return table(head, map(_worst_row, inputs.read()))


def _worst_row(entry: inputs.Worst) -> list[str]:
    recipe = dict(entry.input.recipe)
    words = f"{recipe.pop('signal')} of {recipe.pop('n'):,} samples"
    if entry.input.pad_to:
        words += f", padded to {entry.input.pad_to:,}"
    told = ", ".join(
        f"{key} {value}" if isinstance(value, int) else f"{key} {value:.4g}"
        for key, value in sorted(recipe.items())
    )
    clip = f"{words}: {told}".replace("_", " ")
    return [
        entry.front_end,
        entry.version,
        _score(entry.score),
        clip,
        str(entry.input.n_mels),
        entry.found,
    ]


def _score(score: float) -> str:
    return "∞" if math.isinf(score) else f"{score:.2g}" if score < 100 else f"{score:,.0f}"
