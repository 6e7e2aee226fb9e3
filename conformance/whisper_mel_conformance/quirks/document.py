"""``docs/quirks.md``, written from the catalogue by
``python -m whisper_mel_conformance.quirks.document``."""

from __future__ import annotations

from pathlib import Path

from whisper_mel_conformance.quirks import CATALOGUE, KINDS, Quirk

PATH = Path(__file__).resolve().parents[3] / "docs" / "quirks.md"

_HEAD = """# Quirks: how front-ends go wrong

<!-- Do not edit: python -m whisper_mel_conformance.quirks.document writes it. -->

{count} ways in which log-Mel front-ends are wrong, {seen} of them seen in the wild or reported
there (*seen*: where), the others planted to see whether the suite notices. Each is data that can
be run:

- the suite must reject every one of them, by the case named as its *killer*;
- a front-end that fails is compared with the {path} that are variations of the reference's path,
  and with pairs of them: the report names those that explain it;
- any of them can be judged as a front-end:
  `./dev conformance --frontend whisper_mel_conformance.quirks:symmetric-window`.

Quirks with a number (*in braces: its name and the value of the example*) are recognised with other
values, too. Effects are in features' units unless said otherwise.
"""


def text() -> str:
    """The document."""
    quirks = list(CATALOGUE.values())
    lines = _HEAD.format(
        count=len(quirks),
        seen=sum(bool(quirk.seen) for quirk in quirks),
        path=sum(quirk.vary is not None for quirk in quirks),
    ).splitlines()
    for kind in KINDS:
        lines += ["", f"## {kind[0].upper()}{kind[1:]}", ""]
        lines += [
            "| id | mechanism | effect | killer | since | seen |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_row(quirk) for quirk in quirks if quirk.kind == kind]
    return "\n".join(lines) + "\n"


def _row(quirk: Quirk) -> str:
    name = f"`{quirk.id}`"
    if quirk.parameter is not None:
        name += f" {{{quirk.parameter.name}: {quirk.parameter.example:g}}}"
    seen = ", ".join(f"[{_short(link)}]({link})" for link in quirk.seen)
    cells = [name, quirk.mechanism, quirk.effect, f"`{quirk.killer}`", quirk.since, seen]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _short(link: str) -> str:
    """``owner/name/kind/number`` of an address as ``name number``; of a file, its name."""
    parts = link.removeprefix("https://").split("/")
    name = parts[2] if len(parts) > 2 else parts[0]
    last = parts[-1] if "blob" in parts else parts[-1][:10]  # a commit is long
    return f"{name} {last}" if len(parts) > 4 else name


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
