"""The mutants as pytest tests, which ``./dev mutants`` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import pytest

from mutants.matrix import GOOD
from mutants.trial import TRIALS, Trial, tried


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    handed = getattr(metafunc.config, "workerinput", None)
    plan = [Trial(**data) for data in handed["trials"]] if handed else metafunc.config.stash[TRIALS]
    metafunc.parametrize("trial", plan, ids=lambda trial: trial.id)


def test_mutant(trial: Trial, record_property: Callable[[str, object], None]) -> None:
    row = tried(trial)
    record_property("row", asdict(row))
    if row.verdict not in GOOD:
        pytest.fail(f"{row.verdict}: {row.message}", pytrace=False)
