"""docs/specification.md names a case for each policy: are they there?"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from whisper_mel_conformance.cases.catalogue import FAMILIES, all_cases

PAGE = Path(__file__).parents[2] / "docs" / "specification.md"
IDS = [case.id for case in all_cases("quick")]


def named_cases(page: str) -> list[str]:
    """The ids and patterns in the last column of the table of policies, each once."""
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ")]
    cells = [row[4] for row in rows if len(row) == 6 and "cases" not in row[4]]
    return [*dict.fromkeys(name for cell in cells for name in re.findall(r"`([^`]+)`", cell))]


def exists(name: str) -> bool:
    """A name without a family continues the one before it in its cell: any family will do."""
    patterns = [name] if name.partition("/")[0] in FAMILIES else [f"{f}/{name}" for f in FAMILIES]
    return any(fnmatchcase(case_id, p) for case_id in IDS for p in patterns)


def test_the_table_names_cases() -> None:
    assert len(named_cases(PAGE.read_text(encoding="utf-8"))) >= 30


@pytest.mark.parametrize("name", named_cases(PAGE.read_text(encoding="utf-8")))
def test_a_named_case_exists(name: str) -> None:
    assert exists(name) or exists(f"{name}/80")


def test_a_case_that_is_not_there_would_be_missed() -> None:
    page = "| x | y | z | `errors/no-such-case` |\n"
    assert named_cases(page) == ["errors/no-such-case"]
    assert not exists("errors/no-such-case")
