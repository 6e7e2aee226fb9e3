"""What holds for every test of the tasks."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


@pytest.fixture(autouse=True)
def _pytest_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that becomes another program would end the tests, and what it returned would count."""

    def execvp(file: str, arguments: tuple[str, ...]) -> NoReturn:
        raise AssertionError(f"pytest would have become {' '.join(arguments)}")

    monkeypatch.setattr(os, "execvp", execvp)
