"""A bug report in Markdown, whose reader needs NumPy and the front-end, but not this suite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from whisper_mel_reference import FrontEndSpec

from whisper_mel_conformance.cases.catalogue import CHECKS
from whisper_mel_conformance.cases.judging import LIMITS, truth
from whisper_mel_conformance.cases.recipes import Array
from whisper_mel_conformance.cases.request import Request
from whisper_mel_conformance.diagnosis.diagnose import diagnose
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported
from whisper_mel_conformance.report.environment import environment
from whisper_mel_conformance.report.facts import findings, number, replay_command
from whisper_mel_conformance.report.picture import comparison
from whisper_mel_conformance.run.result import compressed

SIGNALS = (
    "x = np.zeros(201, np.float32)\nx[1] = 0.5",
    "x = np.zeros(480, np.float32)\nx[171] = 0.5",
    "x = np.random.default_rng(0).uniform(-0.5, 0.5, 480).astype(np.float32)",
    "x = np.random.default_rng(0).uniform(-0.5, 0.5, 1999).astype(np.float32)",
    "x = (0.5 * np.sin(2 * np.pi * 440 / 16_000 * np.arange(1600))).astype(np.float32)",
    "x = np.random.default_rng(0).uniform(-1e-3, 1e-3, 1600).astype(np.float32)",
    "x = np.random.default_rng(0).uniform(-1.5, 1.5, 1600).astype(np.float32)",
    "x = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)\n"
    "x *= np.logspace(-4, 0, 16_000, dtype=np.float32)",
    "x = np.random.default_rng(0).uniform(-0.5, 0.5, 16_000).astype(np.float32)\n"
    "x *= np.logspace(0, -4, 16_000, dtype=np.float32)",
)
"""Signals as code, the plainest first."""
_PLAIN = 1e3  # bounds: an error that nobody takes for a rounding
_OF_DTYPE = {
    "float32": "",
    "float64": "\nx = x / 3.0",
    "int16": "\nx = (x.clip(-0.99, 0.99) * 32768).astype(np.int16)",
}
_BATCH = "\nx = np.stack([x * 1e-3, x])"


@dataclass(frozen=True)
class Shown:
    """A call that goes wrong: the code that makes ``x``, and what comes out.

    ``request`` has the options of the call. ``actual`` are the front-end's features, or the text of
    its refusal; ``score`` is their largest error in units of the bound, infinite if they cannot be
    compared.
    """

    code: str
    request: Request
    actual: Array | str
    expected: Array
    bound: Array
    score: float

    @property
    def place(self) -> tuple[int, ...]:
        """The index of the worst value."""
        with np.errstate(invalid="ignore"):
            error = np.abs(self.actual - self.expected) / self.bound
        worst = np.unravel_index(np.nan_to_num(error, nan=np.inf).argmax(), error.shape)
        return tuple(map(int, worst))


def first_wrong(front_end: FrontEnd, asked: Request) -> Shown | None:
    """Return the plainest signal that a front-end fails on by far, else that with its worst error.

    The front-end is called with the options of ``asked``. None if it is right on all signals.
    """
    recipes = [asked.recipe] if asked.recipe is not None else list(asked.recipes)
    dtype = _OF_DTYPE[str((recipes[0] or {}).get("dtype", "float32")) if recipes else "float32"]
    request = replace(asked, recipe=None, recipes=(), layout="plain")
    worst: Shown | None = None
    for signal in SIGNALS:
        code = signal + dtype + (_BATCH if asked.recipes else "")
        scope: dict[str, Any] = {"np": np}
        exec(code, scope)  # code of this module alone
        found = _tried(front_end, code, scope["x"], request)
        if found is None or found.score <= LIMITS["B"]:
            continue
        if not found.score <= _PLAIN:
            return found
        if worst is None or found.score > worst.score:
            worst = found
    return worst


def _tried(front_end: FrontEnd, code: str, audio: Array, request: Request) -> Shown | None:
    spec: FrontEndSpec = request.spec()
    if request.pad_to is not None and audio.shape[-1] > request.pad_to:
        return None
    clips = [truth(clip, spec) for clip in (audio if audio.ndim == 2 else [audio])]
    expected, bound = (
        np.stack([getattr(clip, name) for clip in clips]) for name in ("features", "bound")
    )
    if audio.ndim == 1:
        expected, bound = expected[0], bound[0]
    try:
        actual = front_end.call(audio, **request.options())
    except Unsupported:
        return None
    except (Failure, Refused) as error:
        return Shown(code, request, str(error), expected, bound, np.inf)
    if actual.shape != expected.shape:
        return Shown(code, request, actual, expected, bound, np.inf)
    with np.errstate(all="ignore"):
        score = float((np.abs(actual - expected) / bound).max())
    return Shown(code, request, actual, expected, bound, np.nan_to_num(score, nan=np.inf))


def _lines(shown: Shown) -> list[str]:
    """Return Markdown: the code, and what comes out beside what should."""
    request = shown.request
    names = ("n_mels", "pad_to", "smoothing", "threads")
    given = [f"{n}={getattr(request, n)!r}" for n in names if getattr(request, n) is not None]
    lines = ["```python", "import numpy as np", "", shown.code]
    lines += [f"y = log_mel(x, {', '.join(given)})  # the front-end's, of x at 16 kHz"]
    if isinstance(shown.actual, str):
        shape = shown.expected.shape
        return [
            *lines,
            "```",
            "",
            f"It gives no features: {shown.actual}. Expected: shape {shape}.",
        ]
    if shown.actual.shape != shown.expected.shape:
        lines += ["print(y.shape)", "```", ""]
        return [*lines, f"It gives {shown.actual.shape}; expected: {shown.expected.shape}."]
    at = shown.place
    index = ", ".join(map(str, at))
    lines += [f"print(y[{index}])", "```", ""]
    lines += [
        f"It gives {shown.actual[at]:.7g}; expected: {shown.expected[at]:.7g}. Careful float32 is "
        f"off by {shown.bound[at]:.1g} at most, this by {number(shown.score)} times that."
    ]
    if shown.actual.ndim == 2 and request.smoothing is None:
        more = "" if request.pad_to is None else f", padding={request.pad_to} - len(x)"
        lines += [
            f"openai-whisper gives it: `whisper.log_mel_spectrogram(x, {request.n_mels}{more})"
            f"[{index}]`."
        ]
    return lines


def issue(front_end: FrontEnd, case: Mapping[str, Any], error: Exception | None, path: Path) -> str:
    """Return a bug report in Markdown; draw ``picture.png`` beside a case with features.

    ``error`` is how the case fails, ``path`` its ``case.json``.
    """
    diagnosis = diagnose(front_end)
    lines = [f"## {front_end.name}: {case['case']} fails", "", f"{error}", ""]
    lines += [f"**{label}:** {text}  " for label, text in findings(diagnosis.as_json())]
    lines += ["", "### To reproduce", ""]
    requests = CHECKS[case["check"]].requests(case["arguments"], front_end.capabilities)
    shown = first_wrong(front_end, requests[0]) if requests else None
    lines += _lines(shown) if shown else ["With `case.json` below: plain signals do not show it."]
    lines += [""]
    arrays = error.arrays if isinstance(error, Failure) else {}
    if {"actual", "expected", "bound"} <= set(arrays) and arrays["actual"].ndim == 2:
        picture = path.parent / "picture.png"
        picture.write_bytes(comparison(arrays["actual"], arrays["expected"], arrays["bound"]))
        lines += [f"![expected, actual, error]({picture.name}) (attach {picture})", ""]
        (path.parent / "arrays.npz").write_bytes(compressed(arrays))
    here = environment()
    command = replay_command("case.json", front_end.source, None)  # where it is read
    versions = {**here["versions"], **front_end.versions}
    return "\n".join(
        [
            *lines,
            "### Versions",
            "",
            f"{here['platform']}, {here['cpu']}, device {front_end.device}",
            "",
            *(f"- {name} {version}" for name, version in versions.items()),
            "",
            "<details><summary>case.json, for whisper-mel-conformance</summary>",
            "",
            "```json",
            json.dumps(
                {**case, "environment": here, "command": command}, indent=1, ensure_ascii=False
            ),
            "```",
            "",
            "```sh",
            command,
            "```",
            "",
            "</details>",
        ]
    )
