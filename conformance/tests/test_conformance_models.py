"""Front-ends of other models, other maxima, half outputs and streams, judged and told apart."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from daily import by_day
from running import conformance, report_of
from whisper_mel_conformance.cases.catalogue import all_cases, find
from whisper_mel_conformance.cases.check import CHECKS
from whisper_mel_conformance.cases.properties import EXAMPLES
from whisper_mel_conformance.diagnosis.diagnose import diagnose
from whisper_mel_conformance.diagnosis.long_clips import of_30_seconds
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import (
    Capabilities,
    UnknownFrontEnd,
    inspect_front_end,
    load,
    model_of,
)
from whisper_mel_conformance.quirks import CATALOGUE
from whisper_mel_conformance.quirks.lengths import Counting
from whisper_mel_conformance.quirks.streams import Streaming
from whisper_mel_conformance.quirks.table import right
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_conformance.run.setup import fixed_by
from whisper_mel_reference import WHISPER, FrontEndSpec, log_mel, stages

Array = Any
SOME = (
    *("numerics/rising-noise/80", "numerics/rising-noise/128", "boundary/length-401/128"),
    *("numerics/tone-440/128", "errors/nan-at-2000", "determinism/interleaved"),
    *("golden/reading/128", "property/gain", "property/delay", "property/locality"),
)


@pytest.fixture(autouse=True)
def _few_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXAMPLES, "brief", 10)


def of_model(name: str) -> Any:
    """A front-end that takes nothing but a clip, and does what a model's does."""

    def native(audio: Array) -> Array:
        return log_mel(np.asarray(audio), FrontEndSpec.for_model(name), dtype=np.float32)

    return native


def judged(front_end: Any, model: str | None, ids: Any = SOME) -> dict[str, str]:
    """The status of some cases, by id."""
    inside = InProcess(inspect_front_end(front_end, "test", fixed_by(model)))
    return {id: judge_case(inside, find(id), profile="brief", seed=0).status for id in ids}


@pytest.mark.slow
def test_voxtral_realtimes_mask_counts_two_frames_fewer_than_it_returns() -> None:
    """transformers' own extractor: see docs/findings.md."""
    for module in ("torch", "transformers"):
        pytest.importorskip(module, reason="in the layer `test`")
    front_end = load("voxtral-realtime", fixed_by(model_of("voxtral-realtime")))
    audio = 0.1 * np.random.default_rng(0).standard_normal((2, 16_000)).astype(np.float32)
    assert front_end.with_lengths is not None
    features, mask = front_end.with_lengths(audio, [16_000, 8_000])
    assert features.shape == (2, 128, 100)
    assert (mask.shape, [*mask.sum(axis=1)]) == ((2, 98), [98, 48])
    inside = InProcess(front_end)
    result = judge_case(inside, find("lengths/alone/128"), profile="brief", seed=0)
    assert result.status == "failed"
    assert "4077 of 4077 samples, and 23 valid frames: expected 25" in result.message
    result = judge_case(inside, find("numerics/rising-noise/128"), profile="brief", seed=0)
    assert result.status == "passed"  # the features are right


@pytest.mark.parametrize(
    "name",
    by_day(
        ["voxtral-realtime", "qwen3-asr", "whisper-large-v3", "whisper"],
        ["voxtral-realtime", "qwen3-asr"],
    ),
)
def test_a_front_end_is_judged_by_its_model(name: str) -> None:
    found = judged(of_model(name), name)
    assert "failed" not in found.values()
    bands = FrontEndSpec.for_model(name).n_mels
    assert found[f"numerics/rising-noise/{bands}"] == "passed"
    assert found[f"numerics/rising-noise/{208 - bands}"] == "skipped"
    assert found["determinism/interleaved"] == "passed"
    assert found["property/gain"] == "passed"


OF_ANOTHER = [
    ("qwen3-asr", "voxtral-realtime"),  # the clip's maximum for a fixed one
    ("voxtral-realtime", "qwen3-asr"),
    ("qwen3-asr", "whisper-large-v3"),  # not padded
    ("whisper-large-v3", "qwen3-asr"),
    ("whisper", "whisper-large-v3"),  # bands
    ("qwen3-asr", None),
]


@pytest.mark.parametrize(
    ("native", "by"), by_day(OF_ANOTHER, [OF_ANOTHER[0], OF_ANOTHER[3], OF_ANOTHER[5]])
)
def test_another_models_front_end_fails(native: str, by: str | None) -> None:
    assert "failed" in judged(of_model(native), by).values()


def test_what_is_an_option_is_asked_for_and_the_rest_is_implied() -> None:
    seen: list[dict[str, Any]] = []

    def plain(audio: Array, n_mels: int = 80, **others: Any) -> Array:
        seen.append({"n_mels": n_mels, **others})
        return right(audio, n_mels, **others)

    class Asked:
        capabilities = {"n_mels": (80, 128)}

        def log_mel(
            self, audio: Array, n_mels: int = 80, *, maximum: Any = "clip", pad_to: Any = None
        ) -> Array:
            return plain(audio, n_mels, maximum=maximum, pad_to=pad_to)

    judged(Asked, "voxtral-realtime", ["numerics/tone-440/128"])
    assert seen == [{"n_mels": 128, "maximum": 1.5, "pad_to": None}]
    seen.clear()
    judged(Asked, "whisper", ["numerics/tone-440/80"])
    assert seen == [{"n_mels": 80, "maximum": "clip", "pad_to": 480_000}]


def test_a_model_that_the_front_end_cannot_be_is_refused() -> None:
    class Small:
        capabilities = {"n_mels": (80,)}

        def log_mel(self, audio: Array, n_mels: int = 80) -> Array:
            return right(audio, n_mels)

    with pytest.raises(UnknownFrontEnd, match=r"model='qwen3-asr' has 128 bands.*n_mels=\(80,\)"):
        inspect_front_end(Small, "small", fixed_by("qwen3-asr"))
    with pytest.raises(ValueError, match="model='qwen4': expected one of whisper, "):
        fixed_by("qwen4")


NATIVE = """
import numpy as np
from whisper_mel_reference import FrontEndSpec, log_mel as reference

def log_mel(audio):
    spec = FrontEndSpec.for_model("voxtral-realtime").replace(maximum={maximum})
    return reference(np.asarray(audio), spec, dtype=np.float32)
"""
FEW = "tone-440/128 or length-401/128"


@pytest.mark.slow
def test_the_option_decides_the_verdict_the_report_and_the_replay(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NATIVE.format(maximum=1.4))
    words = ("--frontend", "mine.py:log_mel", "-k", FEW)
    done = conformance(*words, "--model", "Voxtral_Realtime", folder=tmp_path)
    assert done.returncode == 1, done.stdout
    [front_end] = report_of(tmp_path)["front_ends"]
    assert front_end["model"] == "Voxtral_Realtime"
    where = next((tmp_path / "report" / "failures").rglob("case.json"))
    case = json.loads(where.read_text())
    assert case["front_end"]["model"] == "Voxtral_Realtime"
    assert case["specification"] == {
        "n_mels": 128,
        "pad_to": None,
        "smoothing": None,
        "maximum": 1.5,
    }
    replay = ("repro", where, "--trust")
    assert conformance(*replay, folder=tmp_path).returncode == 1
    (tmp_path / "mine.py").write_text(NATIVE.format(maximum=1.5))
    assert conformance(*replay, folder=tmp_path).returncode == 0


# --------------------------------------------------------------------------- told apart


TOLD = {
    "maximum-of-30-seconds": ["maximum-of-30-seconds"],
    "edges-of-30-seconds": ["edges-of-30-seconds"],
    "30-seconds-at-a-time": ["maximum-of-30-seconds", "edges-of-30-seconds"],
    "chunks-ignored": ["chunks-ignored"],
    "chunks-so-far": ["chunks-so-far"],
    "chunk-of-2999-frames": ["chunk-of-2999-frames"],
    "fixed-maximum-ignored": ["fixed-maximum-ignored"],
    "fixed-maximum-twice-below": ["fixed-maximum-twice-below"],
    "maximum-so-far": ["maximum-so-far"],
    "maximum-of-batch": ["maximum-of-batch"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "quirk", by_day(TOLD, ["30-seconds-at-a-time", "chunks-ignored", "fixed-maximum-ignored"])
)
def test_over_what_the_maximum_is_taken_is_told_apart(quirk: str) -> None:
    inside = InProcess(inspect_front_end(CATALOGUE[quirk].make(), quirk))
    found = diagnose(inside, failed=[CATALOGUE[quirk].killer])
    assert [variant.id for variant in found.explanations[0].variants] == TOLD[quirk]


@pytest.mark.slow
def test_where_pieces_meet_is_told() -> None:
    """No quirk has pieces of 10 s. Wrong elsewhere, too, it is no seam."""

    def in_pieces(audio: Array, n_mels: int = 80) -> Array:
        spec = WHISPER.replace(n_mels=n_mels)
        whole = [audio[i : i + 160_000] for i in range(0, max(audio.size - 200, 1), 160_000)]
        log = np.concatenate([stages(piece, spec)["log"] for piece in whole], axis=1)
        y = (np.maximum(log, log.max() - 8.0) + 4.0) / 4.0
        return y[:, : audio.size // 160].astype(np.float32)

    def elsewhere(audio: Array, n_mels: int = 80) -> Array:
        y = in_pieces(audio, n_mels)
        y[:, 1500:1501] += 0.01
        return y

    def cause(front_end: Any) -> str:
        inside = InProcess(inspect_front_end(front_end, "pieces"))
        found = of_30_seconds(inside, ["boundary/61-seconds/80"])
        return "" if found is None else found.cause

    told = "Features are off only where pieces of 10 s meet, as if each were a clip."
    assert cause(in_pieces) == told
    assert cause(elsewhere) == ""


# --------------------------------------------------------------------------- what is new to ask


class Everything(Streaming):
    """Other maxima, float16 and streams, made of the reference."""

    def log_mel(
        self,
        audio: Array,
        n_mels: int = 80,
        *,
        maximum: Any = "clip",
        dtype: str = "float32",
        pad_to: int | None = None,
        smoothing: Any = None,
    ) -> Array:
        y = right(audio, n_mels, maximum=maximum, pad_to=pad_to, smoothing=smoothing)
        return y.astype(dtype)

    capabilities = {"out_dtypes": ("float32", "float16"), "batch": True}


def new_cases() -> list[str]:
    families = ("maximum", "half", "stream", "lengths")
    return [case.id for case in all_cases("quick") if case.family in families]


def test_a_right_front_end_passes_what_it_claims() -> None:
    found = judged(Everything, None, new_cases())
    assert [id for id, status in found.items() if status == "failed"] == []
    assert sum(status == "passed" for status in found.values()) > 120


def test_who_claims_nothing_new_is_asked_nothing_new() -> None:
    inside = InProcess(inspect_front_end(right_of_two, "test"))
    asked = [id for id in new_cases() if find(id).beyond(inside.capabilities) is None]
    assert asked == []


def right_of_two(audio: Array, n_mels: int = 80) -> Array:
    return right(audio, n_mels)


def test_signatures_offer_what_is_claimed() -> None:
    able = inspect_front_end(Everything, "test").capabilities
    assert able.maximum == ("clip", "fixed", "chunk")
    assert able.stream == ("clip", "fixed")
    plain = inspect_front_end(right_of_two, "test").capabilities
    assert (plain.maximum, plain.out_dtypes, plain.stream) == (("clip",), ("float32",), ())


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"maximum": ("file",)}, "maximum=\\('file',\\): expected of"),
        ({"maximum": ()}, "maximum=\\(\\): expected at least one value"),
        ({"stream": (None,)}, "stream=\\(None,\\): expected of"),
        ({"out_dtypes": ("float64", "float32")}, "out_dtypes=.*expected of"),
        ({"out_dtypes": ("float16",)}, "out_dtypes=.*expected float32 among them"),
    ],
)
def test_claims_are_checked(claims: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Capabilities(**claims)


class EndedClips(Counting):
    """Mirrors each clip where it ends, and counts the frame that hears its end."""

    def features(self, audio: Array, lengths: list[int], n_mels: int) -> Array:
        spec = WHISPER.replace(n_mels=n_mels)
        return log_mel(audio, spec, lengths=lengths).astype(np.float32)


class Masking(Counting):
    """Counts every frame whose middle lies in the clip, as a mask."""

    def frames(self, lengths: list[int], n: int) -> Any:
        return np.arange(n // 160) * 160 < np.array(lengths)[:, np.newaxis]


@pytest.mark.parametrize("front_end", [Counting, EndedClips, Masking])
def test_both_ways_to_end_a_clip_are_right(front_end: Any) -> None:
    ids = [id for id in new_cases() if id.startswith("lengths/")]
    assert {*judged(front_end, None, ids).values()} == {"passed"}


PROGRAM = """
import json, sys
import numpy as np
from whisper_mel_conformance.quirks.streams import Stream
from whisper_mel_conformance.quirks.table import right

streams = {}
for line in sys.stdin:
    asked = json.loads(line)
    audio = np.fromfile(asked["in"], "<f4")
    maximum = asked.get("maximum", "clip")
    try:
        if "stream" in asked:
            number = asked["stream"]
            if number not in streams:
                streams[number] = Stream(asked["n_mels"], maximum)
            own = streams[number]
            y = own.finish() if asked["finish"] else own.push(audio)
        else:
            y = right(audio, asked["n_mels"], maximum=maximum, pad_to=asked["pad_to"])
        np.ascontiguousarray(y, "<f4").tofile(asked["out"])
        print(json.dumps({"shape": y.shape}), flush=True)
    except ValueError as error:
        print(json.dumps({"error": str(error)}), flush=True)
"""
OF_PROGRAMS = (
    *("stream/clip-200-ms/80", "stream/fixed-side-by-side", "stream/fixed-of-160"),
    *("stream/clip-between-calls", "maximum/1.5-tone/128", "maximum/one-after-the-other"),
)


@pytest.mark.slow
def test_a_serving_program_says_what_it_understands(tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text(PROGRAM)
    command = f"cmd:{sys.executable} {tmp_path / 'serve.py'}"
    for words, passed in ((" {maximum} {stream}", 6), (" {maximum}", 2), (" {stream}", 2), ("", 0)):
        inside = InProcess(load(command + words))
        results = [judge_case(inside, find(id), profile="brief", seed=0) for id in OF_PROGRAMS]
        inside._loaded.log_mel.__self__.close()  # type: ignore[attr-defined]
        statuses = [result.status for result in results]
        assert "failed" not in statuses, [result.message for result in results]
        assert statuses.count("passed") == passed


def test_every_new_check_has_a_case() -> None:
    asked = {find(id).check for id in new_cases()}
    assert {"streamed", "cut_anywhere", "side_by_side", "prompt", "short_stream"} <= asked
    assert asked <= {*CHECKS}
