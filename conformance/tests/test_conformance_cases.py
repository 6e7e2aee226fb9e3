"""Cases: what they ask of front-ends is what those claim, and no more."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import whisper_mel_conformance.run.quiet_blas  # noqa: F401  before anything imports NumPy
from daily import by_day
from whisper_mel_conformance.cases import judging, properties, recipes
from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.cases.catalogue import CHECKS, FAMILIES, all_cases, find
from whisper_mel_conformance.cases.check import check
from whisper_mel_conformance.cases.properties import EXAMPLES, Property
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.frontend.client import InProcess
from whisper_mel_conformance.frontend.load import Capabilities, inspect_front_end
from whisper_mel_conformance.run.judge import judge_case
from whisper_mel_reference import WHISPER, FrontEndSpec

Array = Any

ALL = Capabilities(
    n_mels=(80, 128),
    smoothing=(None, "valid", "same"),
    pad_to=True,
    maximum=("clip", "fixed", "chunk"),
    out_dtypes=("float32", "float16"),
    stream=("clip", "fixed"),
    dtypes=("float32", "float64", "int16"),
    batch=True,
    out=True,
    threads=True,
    process_per_call=True,  # so that calls are not repeated a hundred times
)
CLIP = {"signal": "silence", "n": 1000}


@pytest.mark.parametrize(
    ("able", "request_", "why"),
    [
        ({"n_mels": (80,)}, Request(CLIP, n_mels=128), "does not claim n_mels=128"),
        ({"n_mels": (128,)}, Request(CLIP), "does not claim n_mels=80"),
        ({"pad_to": False}, Request(CLIP, pad_to=2000), "does not claim pad_to"),
        ({"threads": False}, Request(CLIP, threads=1), "does not claim threads"),
        (
            {"smoothing": (None,)},
            Request(CLIP, smoothing="same"),
            "does not claim smoothing='same'",
        ),
        ({"smoothing": ("same",)}, Request(CLIP), "does not claim smoothing=None"),
        ({"maximum": ("clip",)}, Request(CLIP, maximum=1.5), "does not claim maximum=1.5"),
        ({"maximum": ("clip", 2.0)}, Request(CLIP, maximum=1.5), "does not claim maximum=1.5"),
        (
            {"maximum": ("clip", 1)},
            Request(CLIP, maximum="chunk"),
            "does not claim maximum='chunk'",
        ),
        ({"maximum": (1.5,)}, Request(CLIP), "does not claim maximum='clip'"),
        (
            {"out_dtypes": ("float32",)},
            Request(CLIP, dtype="float16"),
            "does not claim features of dtype float16",
        ),
        (
            {"stream": ("clip",)},
            Request(CLIP, maximum=1.5, streamed=True),
            "does not claim streams with maximum=1.5",
        ),
        (
            {"stream": (1.5,), "maximum": ("clip",)},
            Request(CLIP, streamed=True),
            "does not claim streams with maximum='clip'",
        ),
        ({"dtypes": ("float32",)}, Request({**CLIP, "dtype": "int16"}), "does not claim int16"),
        ({"batch": False}, Request(recipes=[CLIP]), "does not claim batch"),
        ({"max_samples": 999}, Request(CLIP), "takes 999 samples at most"),
        ({"max_samples": 999}, Request(recipes=[CLIP]), "takes 999 samples at most"),
        ({"max_samples": 1999}, Request({"parts": [CLIP, CLIP]}), "takes 1999 samples at most"),
        ({"max_samples": 1999}, Request(CLIP, pad_to=2000), "takes 1999 samples at most"),
        ({"multiple_of": 160}, Request(recipes=[CLIP, CLIP]), "takes multiples of 160 samples"),
        ({"multiple_of": 1000, "pad_to": True}, Request(CLIP), None),
        (
            {"multiple_of": 1000, "pad_to": True},
            Request(CLIP, pad_to=1600),
            "takes multiples of 1000 samples",
        ),
    ],
)
def test_what_a_request_needs(able: dict[str, Any], request_: Request, why: str) -> None:
    assert request_.lacking(replace(ALL, **able)) == why
    assert request_.lacking(ALL) is None


def test_a_request_is_what_its_json_says() -> None:
    request = Request(CLIP, n_mels=128, pad_to=2000, layout="stride-2")
    assert request.options() == {"n_mels": 128, "pad_to": 2000, "layout": "stride-2"}
    assert request.spec() == WHISPER.replace(n_mels=128, pad_to=2000)
    assert request.audio().shape == request.of_length(1000).audio().shape == (1000,)
    assert Request({"parts": [CLIP, CLIP]}).audio().shape == (2000,)
    assert Request(recipes=[CLIP, CLIP]).audio().shape == (2, 1000)
    assert Request(CLIP).options() == {"n_mels": 80}


def test_arguments_that_no_check_knows_are_an_error() -> None:
    for arguments in ({"recipe": CLIP, "samples": 3}, {"calls": [{"recipe": CLIP, "samples": 3}]}):
        name = "sequence" if "calls" in arguments else "scored"
        with pytest.raises(TypeError, match="samples"):
            CHECKS[name](InProcess(inspect_front_end(Claiming(ALL), "f")), **arguments)


def test_a_check_says_what_it_asks() -> None:
    with pytest.raises(TypeError, match=r"check silent: expected asks=, request or calls"):

        @check()
        def silent(front_end: Any, samples: int) -> None:
            """It would be put to front-ends that cannot answer."""

    assert "silent" not in CHECKS


def test_the_families_have_every_case_and_every_check() -> None:
    cases = all_cases("nightly")
    assert {case.family for case in cases} == {*FAMILIES}
    assert {case.check for case in cases} == {*CHECKS}
    shorter = [{case.id for case in all_cases(profile)} for profile in ("quick", "ci")]
    assert shorter[0] < shorter[1] < {case.id for case in cases}
    assert find("memory/24-hours").check == "endurance"


# --------------------------------------------------------------------------- what is asked


class Claiming:
    """A front-end that notes what it is asked beyond its claims. Its features are zeros."""

    def __init__(self, able: Capabilities) -> None:
        self.capabilities = able
        self.beyond: list[str] = []

    def log_mel(
        self,
        audio: Array,
        n_mels: int = 80,
        *,
        pad_to: int | None = None,
        smoothing: Any = None,
        maximum: Any = "clip",
        dtype: str = "float32",
        out: Array = None,
        threads: int | None = None,
    ) -> Array:
        if audio.ndim not in (1, 2):
            raise ValueError("audio")
        clip = {
            "signal": "silence",
            "n": audio.shape[-1],
            "dtype": audio.dtype.newbyteorder("=").name,
        }
        # Impossible values are there only for those that claim the option.
        asked = Request(
            clip if audio.dtype.name in ALL.dtypes else {**clip, "dtype": "float32"},
            n_mels=n_mels if n_mels in ALL.n_mels else 80,
            pad_to=pad_to,
            smoothing=smoothing if smoothing in ALL.smoothing else "same",
            maximum=maximum,
            dtype=dtype,
            threads=threads,
        )
        self.note(asked)
        spec = WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing)
        shape = (*audio.shape[:-1], *spec.feature_shape(audio.shape[-1]))
        if out is None:
            return np.zeros(shape, dtype)
        out[...] = 0
        return out

    def note(self, asked: Request) -> None:
        why = asked.lacking(self.capabilities)
        if why is not None:
            self.beyond.append(why)

    def stream(self, n_mels: int = 80, *, maximum: Any = "clip") -> Any:
        return ClaimingStream(self, n_mels, maximum)


class ClaimingStream:
    """A stream of zeros, which all come at its end."""

    def __init__(self, source: Claiming, n_mels: int, maximum: Any) -> None:
        self.source, self.n_mels, self.maximum = source, n_mels, maximum
        self.n = 0

    def push(self, samples: Array) -> Array:
        self.n += samples.size
        return np.zeros((self.n_mels, 0), np.float32)

    def finish(self) -> Array:
        clip = {"signal": "silence", "n": self.n}
        options = {"n_mels": self.n_mels, "maximum": self.maximum, "streamed": True}
        self.source.note(Request(clip, **options))
        return np.zeros((self.n_mels, self.n // 160), np.float32)


def silence(recipe: recipes.Recipe) -> Array:
    return np.zeros(recipe["n"], recipe.get("dtype", "float32"))


def zeros(audio: Array, spec: FrontEndSpec) -> Any:
    shape = spec.feature_shape(audio.shape[-1])
    return SimpleNamespace(features=np.zeros(shape), bound=np.ones(shape))


LACKS: list[dict[str, Any]] = [
    *({"n_mels": (80,)}, {"n_mels": (128,)}, {"smoothing": (None,)}, {"smoothing": ("same",)}),
    *({"pad_to": False}, {"threads": False}, {"dtypes": ("float32",)}, {"batch": False}),
    *({"max_samples": n} for n in (1000, 4000, 5000, 480_000)),
    *({"maximum": it} for it in (("clip",), ("clip", "fixed"), ("clip", "chunk"), (1.5,))),
    *({"stream": kinds} for kinds in ((), ("clip",), ("fixed",), (1.5,))),
    {"out_dtypes": ("float32",)},
    {},
]
PLAIN = {
    name: it for lacks in reversed(LACKS) for name, it in lacks.items() if name != "max_samples"
}
"""What a front-end lacks that takes nothing but a clip."""
LACKS_BY_DAY = [PLAIN, {"n_mels": (128,)}, {"max_samples": 4000}, {"maximum": (1.5,)}]


@pytest.mark.parametrize("lacks", by_day([PLAIN, *LACKS], LACKS_BY_DAY), ids=str)
def test_no_case_asks_what_is_not_claimed(
    monkeypatch: pytest.MonkeyPatch, lacks: dict[str, Any]
) -> None:
    monkeypatch.setattr(recipes, "render", silence)  # nobody listens
    monkeypatch.setattr(judging, "truth", zeros)
    monkeypatch.setattr(properties, "truth", zeros)
    monkeypatch.setitem(EXAMPLES, "quick", 10)
    lenient, strict = (Claiming(replace(ALL, errors=e, **lacks)) for e in (None, "strict"))
    calls = 0
    for case in _few_of_each():
        source = strict if "errors" in case.claims else lenient
        front_end = InProcess(inspect_front_end(source, "claiming"))
        result = judge_case(front_end, case, profile="quick", seed=0)
        assert not source.beyond, (case.id, result.arguments, source.beyond[0])
        calls += result.calls
    assert calls > 50


def test_what_is_asked_beyond_the_claims_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Claiming(replace(ALL, pad_to=False))
    case = find("boundary/pad-200-to-400/80")
    assert case.beyond(source.capabilities) == "does not claim pad_to"
    monkeypatch.setattr(Case, "beyond", lambda *_: None)
    judge_case(InProcess(inspect_front_end(source, "f")), case, profile="quick", seed=0)
    assert source.beyond == ["does not claim pad_to"]


@lru_cache(maxsize=1)
def _few_of_each() -> list[Any]:
    """Those cases that differ in their check, or in what they need of a front-end."""
    chosen: dict[Any, Any] = {}
    for case in all_cases("quick"):
        requests = CHECKS[case.check].requests(case.arguments)
        needs = [
            (r.n_mels, r.pad_to is None, r.smoothing, r.threads is None, r.maximum, r.dtype)
            for r in requests
        ]
        dtypes = str([(r.recipe or {}).get("dtype") for r in requests])
        key = case.check, case.claims, str(sorted({*map(str, needs)})), dtypes
        chosen.setdefault(case.id if isinstance(case, Property) else key, case)
    return list(chosen.values())
