"""The clips that a diagnosis asks a front-end for: together they show what single ones hide."""

from __future__ import annotations

from dataclasses import replace

from whisper_mel_conformance.cases.recipes import signal
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.answer import Answer
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_conformance.frontend.load import Capabilities

_LOUD = (
    signal("noise", 517, seed=901, gain=0.4),
    signal("noise_ramp", 1100, seed=902),
    signal("tone_in_noise", 960, seed=903, frequency=437.0, gain=0.7, noise_db=-110.0),
    signal("silence", 640),
    signal("click", 480, at=171, gain=0.5),
    signal("dc", 240, gain=0.2),
    signal("noise", 143, seed=904, gain=0.3),
)

_QUIET = (
    signal("noise", 700, seed=905, gain=2e-4),
    signal("noise", 1200, seed=906, gain=1.2e-5),
    signal("tone", 900, frequency=523.0, gain=1e-4),
    signal("silence", 800),
    signal("noise", 439, seed=907, gain=3e-3),
)

_LATE = (
    signal("noise_ramp", 11_200, seed=908, start_db=-80.0, stop_db=-40.0),
    signal("noise", 1100, seed=909, gain=0.9),
    signal("noise", 2380, seed=910, gain=1e-4),
)

_TAIL = (signal("loud_tail", 4080, seed=911),)

_FULL_SCALE = (signal("noise", 2161, seed=912, gain=1.7), signal("square", 1200, frequency=441.0))

_CLAMPED = (
    signal("noise_ramp", 1500, seed=918),
    signal("tone_in_noise", 960, seed=919, frequency=611.0, gain=0.6, noise_db=-110.0),
    signal("silence", 640),
)

_REMAINDER = (signal("noise", 1919, seed=913, gain=0.2),)


def clips(able: Capabilities) -> dict[str, Request]:
    """Return the requests for a front-end with these capabilities, by the names of their clips."""
    plain = Request(n_mels=able.n_mels[0]).of_model(able)
    parts = {
        "loud": _LOUD,
        "quiet": _QUIET,
        "late": _LATE,
        "loud tail": _TAIL,
        "full scale": _FULL_SCALE,
        "remainder": _REMAINDER,
        "silence": (signal("silence", 1600),),
    }
    asked = {name: replace(plain, recipe={"parts": recipes}) for name, recipes in parts.items()}
    recipe = signal("noise_ramp", 2111, seed=914)
    noise = replace(plain, recipe=recipe)
    for n_mels in able.n_mels[1:]:
        asked[f"{n_mels} bands"] = replace(asked["loud"], n_mels=n_mels)
    for dtype in able.dtypes[1:]:
        lowest = {"poke": [1000, -32_768]} if dtype == "int16" else {}
        asked[dtype] = replace(noise, recipe={**recipe, **lowest, "dtype": dtype})
    for smoothing in able.smoothing:
        if smoothing is not None:
            asked[f"smoothing {smoothing}"] = replace(noise, smoothing=smoothing)
    for maximum in able.maximum if able.model is None else ():
        if maximum != "clip":
            value = 1.5 if maximum == "fixed" else maximum
            recipe = {"parts": _CLAMPED}
            asked[f"maximum {value}"] = replace(plain, recipe=recipe, maximum=value)
    asked["padded"] = replace(noise, pad_to=4000)
    asked["exact fit"] = replace(noise, pad_to=2111)
    pair = (signal("noise", 1777, seed=915, gain=1e-5), signal("noise", 1777, seed=916))
    asked["batch"] = replace(plain, recipes=pair)
    return {name: request for name, request in asked.items() if request.lacking(able) is None}


SPEECH = "two seconds of speech"

SPOKEN = signal("speech", 32_000, recording="sense-and-sensibility", start=8000)


def ask(front_end: FrontEnd, name: str, request: Request) -> Answer:
    audio, spec = request.audio(), request.spec()
    try:
        return Answer(name, audio, spec, front_end.call(audio, **request.options()))
    except Unsupported:
        return Answer(name, audio, spec, None)
    except (Failure, Refused) as error:
        return Answer(name, audio, spec, None, str(error))
