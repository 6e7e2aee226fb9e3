"""Cases of very long clips, of drawn ones that nobody can know, and of what is only said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy
from daily import by_day
from running import CORRECT, QUIRKS, conformance
from whisper_mel_conformance.cases import very_long
from whisper_mel_conformance.cases.catalogue import CHECKS, all_cases, find
from whisper_mel_conformance.cases.drawing import search
from whisper_mel_conformance.cases.properties import Property
from whisper_mel_conformance.cases.recipes import render_audio
from whisper_mel_conformance.frontend.client import FrontEnd, InProcess
from whisper_mel_conformance.frontend.load import Capabilities, inspect_front_end
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.table import right
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_conformance.run.result import Result
from whisper_mel_reference import WHISPER

Array = Any
LONGEST = find("boundary/2-to-the-24")


def judged(front_end: Any, case: Any) -> Result:
    inside = InProcess(inspect_front_end(front_end, "test"))
    return judge_case(inside, case, profile="quick", seed=0)


# --------------------------------------------------------------------------- very long clips


def of_pieces(audio: Array) -> Array:
    """Right features of a clip of the case, in no time: computed from two of its pieces."""
    n, piece = audio.size, very_long._HOPS * WHISPER.hop
    short = n % piece + 2 * piece
    if n < 4 * piece:
        return right(audio)
    features = right(very_long._audio(short, WHISPER, "float32"))
    pairs = very_long._pieces(n // WHISPER.hop, features.shape[1])
    return np.concatenate([features[:, place] for _, place in pairs], axis=1)


def test_the_pieces_of_a_long_clip_are_those_of_the_whole() -> None:
    n = 5 * very_long._HOPS * WHISPER.hop + 28_353
    audio = very_long._audio(n, WHISPER, "float32")
    np.testing.assert_allclose(of_pieces(audio), right(audio), atol=1e-5)


def late(count: int, change: str) -> Any:
    """A front-end that is wrong after ``count`` samples only."""

    def f(audio: Array, n_mels: int = 80) -> Array:
        y = of_pieces(audio)
        first = count // WHISPER.hop + 1
        if change == "repeated":
            y[:, first:] = y[:, first - 1 : first]
        elif change == "late":
            y[:, first + 1 :] = y[:, first:-1].copy()
        elif change == "quieter":
            y[:, first:] -= np.float32(1e-5)
        elif change == "no last frame":
            y = y[:, :-1]
        return y

    return f


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    by_day(["nothing", "repeated", "late", "quieter", "no last frame"], ["nothing", "late"]),
)
def test_what_is_wrong_beyond_2_to_the_24_is_found(
    change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(very_long, "_rate", lambda *_: 1e-9)
    result = judged(late(1 << 24, change), LONGEST)
    assert result.status == ("passed" if change == "nothing" else "failed"), result.message


def _one(audio: Array) -> Array:
    return np.zeros(1, np.float32)


def test_the_length_is_chosen_by_speed_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for rate, longest in ((1e-9, 24), (1.1 / (1 << 23), 22), (1.0, 21)):
        monkeypatch.setattr(very_long, "_rate", lambda *_, rate=rate: rate)
        monkeypatch.setattr(very_long, "_score", lambda *_: 0.5)
        for exponent in very_long._EXPONENTS:
            result = judged(_one, find(f"boundary/2-to-the-{exponent}"))
            assert result.status == ("passed" if exponent == longest else "skipped")
            if exponent != longest:
                assert f"2^{longest} samples are the most" in result.message


def test_slow_front_ends_are_asked_for_the_longest_clip_in_longer_profiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What takes 19 s for it is skipped in the quick profile; what takes 21 s is never asked."""
    of_slow = find("boundary/2-to-the-24-within-20-seconds")
    assert of_slow in all_cases("ci")
    assert of_slow not in all_cases("quick")
    for seconds, said in ((19.0, "of the frames"), (21.0, "2^23 samples are the most")):
        monkeypatch.setattr(very_long, "_rate", lambda *_, seconds=seconds: seconds / (1 << 24))
        assert judged(late(1 << 22, "late"), LONGEST).status == "skipped"
        assert said in judged(late(1 << 22, "late"), of_slow).message


# --------------------------------------------------------------------------- stored answers


@pytest.mark.slow
def test_answers_stored_for_the_seed_of_a_run_are_found() -> None:
    """A front-end that is right on what seed 0 draws, and nowhere else."""
    known: set[bytes] = set()

    def store(arguments: Mapping[str, Any]) -> float:
        known.add(render_audio(arguments["recipe"]).tobytes())
        return 0.0

    drawn, fresh = find("property/any-clip"), find("honesty/fresh-clips")
    assert isinstance(drawn, Property)
    able = Capabilities(n_mels=(80, 128))
    search(drawn, able, store, examples=40, seed=0)
    assert len(known) > 20

    def f(audio: Array, n_mels: int = 80) -> Array:
        return right(audio, n_mels) + np.float32(audio.tobytes() not in known)

    assert judged(f, drawn).status == "passed"
    results = [judged(f, fresh) for _ in range(2)]
    assert {result.status for result in results} == {"failed"}
    again = InProcess(inspect_front_end(f, "test"))
    with pytest.raises(Exception, match="value"):  # by the arguments that are stored with it
        CHECKS["scored"](again, **results[0].arguments)


# --------------------------------------------------------------------------- what is said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "said"),
    [(f"{CORRECT}:right", "whisper_mel_reference"), (f"{CORRECT}:nonesuch", None)],
)
def test_imports_of_others_are_said(source: str, said: str | None, tmp_path: Path) -> None:
    if said is None:
        (tmp_path / "own.py").write_text(
            "import numpy as np\ndef f(audio, n_mels=80): return np.zeros((n_mels, 2), np.float32)"
        )
        source = f"{tmp_path / 'own.py'}:f"
    front_end = FrontEnd(source, timeout=1800.0)
    try:
        front_end.start()
        result = judge_case(front_end, find("honesty/imports"), profile="quick", seed=0)
    finally:
        front_end.stop()
    assert result.status == "passed"
    assert (said or "") in result.message
    assert bool(result.message) == (said is not None)


@pytest.mark.slow
def test_a_remark_is_in_the_terminal_and_on_the_page(tmp_path: Path) -> None:
    options = ("--frontend", f"{CORRECT}:right", "-k", "honesty/imports")
    done = conformance(*options, folder=tmp_path)
    said = "has imported whisper_mel_reference: are the features its own?"
    assert said in done.stdout
    assert said in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


# --------------------------------------------------------------------------- order


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    by_day(
        (
            *("small-leak", "600th-call-wrong", "numpy-errors-silenced", "denormals-left-flushed"),
            *("daemon-left", "warnings-silenced", "leak-by-errors", "file-leak-now-and-then"),
        ),
        ["small-leak", "warnings-silenced"],
    ),
)
def test_the_verdict_is_the_same_after_other_cases(name: str) -> None:
    before = ("memory/left-behind-long/80", "determinism/repeated/80", "errors/nan-at-5")
    front_end = FrontEnd(f"{QUIRKS}:{name}", timeout=1800.0)
    try:
        front_end.start()
        for case in (*before, CATALOGUE[name].killer):
            result = judge_case(front_end, find(case), profile="quick", seed=0)
    finally:
        front_end.stop()
    assert result.status == "failed"
    assert "internal" not in result.message
