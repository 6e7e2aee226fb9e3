"""The tables of docs/quirks.md: the catalogue, and the kill matrix's verdict on each entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache

from checkout.paths import MEASUREMENTS
from mutants.matrix import ACCEPTS, REJECTS, Row, idle, read
from planted.kernel import kernel_mutants
from whisper_mel_conformance.quirks import CATALOGUE, KINDS, Quirk

from docs import catalogue
from docs.sections import table

HEAD = ["id", "mechanism", "effect", "fix", "killer", "rejected by", "since", "seen"]


@cache
def matrix() -> dict[str, Row]:
    """Read the recorded kill matrix, by mutant."""
    return read(MEASUREMENTS / "mutants.json")


def killed() -> str:
    """Return the sentences about the record of ``./dev mutants --full`` and what it lacks."""
    rows, cases = matrix(), catalogue.ids()
    tried = set().union(*(row.cases for row in rows.values()))
    mutants = {*CATALOGUE, *kernel_mutants()}
    unkilled = [row.id for row in rows.values() if row.verdict not in ("killed", "equivalent")]
    equivalent = sum(row.verdict == "equivalent" for row in rows.values())
    gross = sum(row.is_gross for row in rows.values())
    sentences = [
        f"The record has {len(rows)} mutants, {equivalent} of them equivalent, tried by "
        f"{len(tried):,} cases.",
        f"Not killed: {_list(unkilled)}.",
        f"Cases that reject no mutant, leaving out {gross} mutants that every case rejects: "
        f"{_list(idle(rows, [case for case in cases if case in tried]))}.",
        f"Mutants not tried yet: {_kernel_mutants_and_others(mutants - rows.keys())}.",
        f"Cases not tried yet: {_by_family(case for case in cases if case not in tried)}.",
    ]
    return "\n".join(sentences)


def _list(ids: Iterable[str]) -> str:
    return ", ".join(f"`{id}`" for id in ids) or "none"


def _kernel_mutants_and_others(ids: set[str]) -> str:
    """Count quirks, whose rows below say so, and name the kernel's mutants, which have no rows."""
    of_kernel = ids - CATALOGUE.keys()
    return f"{len(ids - of_kernel)} quirks; of the kernel, {_list(sorted(of_kernel))}"


def _by_family(cases: Iterable[str]) -> str:
    counts = Counter(case.split("/")[0] for case in cases)
    return ", ".join(f"{count} of `{family}/`" for family, count in counts.items()) or "none"


def tables() -> str:
    """Return a table for each kind of quirks."""
    return "\n\n".join(
        f"## {kind[0].upper()}{kind[1:]}\n\n"
        + table(HEAD, [_row(quirk) for quirk in CATALOGUE.values() if quirk.kind == kind])
        for kind in KINDS
    )


def _row(quirk: Quirk) -> list[str]:
    name = f"`{quirk.id}`"
    if quirk.parameter is not None:
        name += f" {{{quirk.parameter.name}: {quirk.parameter.example:g}}}"
    seen = ", ".join(f"[{_short(link)}]({link})" for link in quirk.seen)
    by = _rejected_by(matrix().get(quirk.id))
    cells = [
        name,
        quirk.mechanism,
        quirk.effect,
        quirk.fix,
        f"`{quirk.killer}`",
        by,
        quirk.since,
        seen,
    ]
    return [cell.replace("|", "\\|") for cell in cells]


def _rejected_by(row: Row | None) -> str:
    """Return how many of the cases that could be tried reject a mutant."""
    if row is None:
        return "not tried yet"
    able = sum(sign in (REJECTS, ACCEPTS) for sign in row.cases.values())
    return f"{len(row.killed_by)} of {able}"


def _short(link: str) -> str:
    """Shorten an address: ``owner/name/kind/number`` to ``name number``, a file to its name."""
    parts = link.removeprefix("https://").split("/")
    name = parts[2] if len(parts) > 2 else parts[0]
    last = parts[-1] if "blob" in parts else parts[-1][:10]  # a commit's id is long
    return f"{name} {last}" if len(parts) > 4 else name
