"""Generated parts of a Markdown document.

A section stands between two marks, a number in prose after one mark::

    <!-- speed: from here on written by `./dev docs` -->
    …
    <!-- speed: up to here -->

    the goldens are <!--=goldens-->356 arrays
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

_SECTION = re.compile(
    r"(?P<head><!-- (?P<name>[\w-]+): from here on written by `\./dev docs` -->\n)"
    r"(?P<old>.*?)(?P<tail><!-- (?P=name): up to here -->)",
    re.DOTALL,
)
# Not at the beginning of a line, where a comment would begin a block of HTML without Markdown
_NUMBER = re.compile(
    r"(?<=[^\n])(?P<head><!--=(?P<name>[^>]+)-->)(?P<old>\d([\d.,]*\d)?)(?P<tail>)"
)
_MARK = re.compile(r"<!--=|: from here on written by|: up to here -->")
Parts = Mapping[str, Callable[[], str]]
"""Functions that make a part's text, by the part's name."""


def rewritten(text: str, sections: Parts, numbers: Parts) -> tuple[str, dict[str, bool]]:
    """Make every generated part of a document anew.

    Returns the new text and, for each part in the document, whether it changed. Raises
    ``ValueError`` for an unknown name, a section that occurs twice, or a broken mark.
    """
    changed: dict[str, bool] = {}
    n_marks = 0

    def made_anew(match: re.Match[str]) -> str:
        nonlocal n_marks
        name, is_section = match["name"], match.re is _SECTION
        parts = sections if is_section else numbers
        if name not in parts:
            raise ValueError(f"{name!r} is no generated part: expected of {', '.join(parts)}")
        if is_section and name in changed:
            raise ValueError(f"the section {name!r} stands there twice")
        n_marks += 2 if is_section else 1
        new = f"\n{parts[name]()}\n\n" if is_section else parts[name]()
        changed[name] = changed.get(name, False) or new != match["old"]
        return match["head"] + new + match["tail"]

    new = _NUMBER.sub(made_anew, _SECTION.sub(made_anew, text))
    if n_marks != len(_MARK.findall(text)):
        raise ValueError(
            "a mark of a generated part is broken: expected a section's two marks, or a number "
            "right after its mark, which may not begin a line"
        )
    return new, changed


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; columns whose heading ends in a colon are aligned to the right."""
    rule = "|".join("--:" if name.endswith(":") else "---" for name in head)
    lines = [_line([name.removesuffix(":") for name in head]), f"|{rule}|", *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "|" + "".join(f" {cell} |".replace("  ", " ") for cell in cells)
