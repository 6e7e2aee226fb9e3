"""The cases as pytest tests; the plugin collects them if a front-end is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy
from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.keys import JUDGE, RESULT
from whisper_mel_conformance.report.write import case_path


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    plan = [
        pytest.param(front_end, case, id=f"{front_end.name}:{case.id}")
        for front_end, case in metafunc.config.stash[JUDGE].plan()
    ]
    metafunc.parametrize(("front_end", "case"), plan)


def test_conformance(front_end: FrontEnd, case: Case, request: pytest.FixtureRequest) -> None:
    judge = request.config.stash[JUDGE]
    result = judge.judge(front_end, case)
    request.node.stash[RESULT] = result
    if result.status == "skipped":
        pytest.skip(result.message)
    if result.status == "known":
        pytest.xfail(result.message)
    if result.status == "failed":
        path = case_path(front_end.name, case.id, Path(judge.setup.report))
        pytest.fail(f"{case.id}: {result.message}\nreproduction: {path}", pytrace=False)
