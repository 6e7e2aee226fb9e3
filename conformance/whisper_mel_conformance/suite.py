"""The cases as pytest tests; collected by the plugin where a front-end is named."""

from __future__ import annotations

from random import SystemRandom

import pytest

import whisper_mel_conformance.quiet_blas  # noqa: F401  before anything imports NumPy
from whisper_mel_conformance.catalogue import Case
from whisper_mel_conformance.client import FrontEnd
from whisper_mel_conformance.plugin import RUN
from whisper_mel_conformance.rendering.documents import beside
from whisper_mel_conformance.report import forget, write_failure
from whisper_mel_conformance.running import Run


def _seed(config: pytest.Config) -> int:
    """hypothesis's own ``--hypothesis-seed`` (0 by default, so that runs are alike)."""
    given = config.getoption("--hypothesis-seed", default=None)
    return SystemRandom().getrandbits(32) if given == "random" else int(given or 0)


def make_run(config: pytest.Config) -> Run:
    """The run that the options describe. Raises ``pytest.UsageError``."""
    if hasattr(config, "workerinput"):
        raise pytest.UsageError("front-ends are judged one after the other: leave out -n")
    options = config.option
    try:
        run = Run(
            options.frontend,
            with_peers=options.frontend_peers,
            profile=options.frontend_profile,
            seed=_seed(config),
            timeout=options.frontend_timeout,
            known_files=options.frontend_known,
            beside=beside(options.frontend_benchmark, options.frontend_mutants),
        )
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    forget(run, options.frontend_report)
    return run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    plan = [
        pytest.param(front_end, case, id=f"{front_end.name}:{case.id}")
        for front_end, case in metafunc.config.stash[RUN].plan()
    ]
    metafunc.parametrize(("front_end", "case"), plan)


def test_conformance(front_end: FrontEnd, case: Case, pytestconfig: pytest.Config) -> None:
    run = pytestconfig.stash[RUN]
    result = run.judge(front_end, case)
    if result.status == "skipped":
        pytest.skip(result.message)
    if result.status == "known":
        pytest.xfail(result.message)
    if result.status == "failed":
        try:
            path = str(write_failure(result, front_end, pytestconfig.option.frontend_report))
        except OSError as error:
            path = f"could not be written: {error.strerror}"
            run.unwritten.append(f"the reproduction of {front_end.name} {case.id} {path}")
        pytest.fail(f"{case.id}: {result.message}\nreproduction: {path}", pytrace=False)
