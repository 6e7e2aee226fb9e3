"""Measurement of how much of the error bound float32 front-ends use.

``./dev golden calibrate`` writes ``docs/measurements/calibration.json``: each front-end's worst
score over many clips, and over a search for its worst clip. ``./dev docs`` shows it in
``docs/error-bound.md``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from checkout.paths import MEASUREMENTS
from numpy.typing import NDArray
from whisper_mel_golden.inputs import INPUTS, N_MELS, SECOND
from whisper_mel_golden.machine import cpu_model
from whisper_mel_golden.signals import render
from whisper_mel_reference import CLASS_A, CLASS_B, WHISPER, FrontEndSpec, truth
from whisper_mel_reference import bound as bound_module
from whisper_mel_reference.bound import compare_with
from whisper_mel_reference.pipeline import mean_3x3

from calibration.front_ends import FRONT_ENDS, FrontEnd

Recipe = Mapping[str, Any]
Scores = dict[str, dict[str, Any]]

RECORD = MEASUREMENTS / "calibration.json"
COMMAND = "./dev golden calibrate"
PACKAGES = ("numpy", "scipy", "pyfftw", "ducc0", "torch", "openai-whisper")
CONSTANTS = ("FFT_ERROR", "PEAK_ERROR", "WINDOW_ERROR", "SUM_ERROR", "LAST_ERROR")
SMOOTHINGS = (None, "same")
LIMITS = {
    "careful": (0.0, CLASS_A),
    "careless": (0.0, CLASS_B),
    "fault": (CLASS_B, np.inf),
    "equivalent": (0.0, 0.1),
}
"""The interval that the worst scores of front-ends of each kind must be in."""

SEARCH_SEED = 20
SEARCH_STEPS = 1500
_LONGEST = 6 * SECOND  # most catalogued clips are shorter; two of 30 s are added


# --------------------------------------------------------------------------- measurement


def recipes() -> dict[str, Recipe]:
    """Return the clips of the calibration by name: inputs of the goldens, and some more."""
    found: dict[str, Recipe] = {
        name: entry.recipe
        for name, entry in INPUTS.items()
        if WHISPER.reach < entry.recipe["n"] <= _LONGEST
    }
    found["reading-30s"] = INPUTS["reading-30s"].recipe
    # A band of one bin may have a spectrum value near zero: the more frames, the nearer.
    found["noise-30s"] = {"signal": "noise", "n": 30 * SECOND, "seed": 50, "gain": 0.3}
    # A transform of real input computes bin 200 - k from the same two numbers as bin k.
    for frequency, noise_db in ((7071.0, -61.0), (7839.0, -50.0), (7968.0, -37.0)):
        found[f"tone-{frequency:.0f}-in-noise"] = {
            "signal": "tone_in_noise",
            "n": SECOND,
            "seed": int(frequency),
            "frequency": frequency,
            "noise_db": noise_db,
        }
    # Quiet frames beside loud ones, but not so quiet that they are clamped
    for period in (800, 1600):
        found[f"on-off-{period}"] = {
            "signal": "on_off",
            "n": SECOND,
            "seed": period,
            "period": period,
            "quiet_db": -60.0,
        }
    return found


def available(front_end: FrontEnd) -> bool:
    return front_end.requires is None or importlib.util.find_spec(front_end.requires) is not None


def measure(clips: Mapping[str, Recipe], front_ends: Iterable[FrontEnd] = FRONT_ENDS) -> Scores:
    """Measure each front-end's worst score over all clips, 80 and 128 bands, smoothed or not.

    The results, by name, are ``score``, and the ``signal``, ``n_mels`` and ``smoothing`` of it.
    """
    usable = [front_end for front_end in front_ends if available(front_end)]
    worst: Scores = {front_end.name: {"score": -1.0} for front_end in usable}
    for signal, recipe in clips.items():
        audio = render(recipe)
        for n_mels in N_MELS:
            judges = [Judge(audio, n_mels, smoothing) for smoothing in SMOOTHINGS]
            for front_end in usable:
                features = front_end.log_mel(audio, n_mels)
                for judge in judges:
                    score = judge.score(features)
                    if score > worst[front_end.name]["score"]:
                        where = {"n_mels": n_mels, "smoothing": judge.spec.smoothing}
                        worst[front_end.name] = {"score": score, "signal": signal, **where}
    return worst


class Judge:
    """The truth of one clip under one specification, which many front-ends are scored by."""

    def __init__(self, audio: NDArray[Any], n_mels: int, smoothing: Any = None) -> None:
        self.spec: FrontEndSpec = WHISPER.replace(n_mels=n_mels, smoothing=smoothing)
        self.features, self.bound = truth(audio, self.spec)

    def score(self, features: NDArray[Any]) -> float:
        """Score features that are not yet smoothed; smoothing is applied here, in their dtype."""
        smooth = features if self.spec.smoothing is None else mean_3x3(features, self.spec)
        return compare_with(smooth, self.features, self.bound).score


# --------------------------------------------------------------------------- the record


def calibrate(
    clips: Mapping[str, Recipe] | None = None,
    steps: int = SEARCH_STEPS,
    seed: int = SEARCH_SEED,
    front_ends: tuple[FrontEnd, ...] = FRONT_ENDS,
) -> dict[str, Any]:
    """Measure and search; return the content of the record.

    ``clips`` None means ``recipes()``. A front-end whose library is not installed stays in the
    table with that reason.
    """
    clips = recipes() if clips is None else clips
    scores, worst = measure(clips, front_ends), search(steps, seed, front_ends)
    rows = []
    for front_end in front_ends:
        row = {"name": front_end.name, "kind": front_end.kind}
        if front_end.name in scores:
            rows.append({**row, **scores[front_end.name]})
        else:
            rows.append({**row, "absent": f"{front_end.requires} is not installed"})
    return {
        "command": COMMAND,
        "made_with": _made_with(),
        "constants": constants(),
        "clips": {"count": len(clips), "sha256": digest(clips)},
        "front_ends": rows,
        "search": {"seed": seed, "steps": steps, "worst": worst},
        "frame": _one_frame("tone-7071-in-noise", 50, "radices 4 4 5 5"),
    }


def constants() -> dict[str, float]:
    """Return the bound's calibrated constants, which the scores depend on."""
    return {name: getattr(bound_module, name) for name in CONSTANTS}


def digest(clips: Mapping[str, Recipe]) -> str:
    """Return the SHA-256 of the clips' recipes, in hexadecimal."""
    return hashlib.sha256(json.dumps(clips, sort_keys=True).encode()).hexdigest()


def read(path: Path = RECORD) -> dict[str, Any]:
    """Read the recorded calibration, or another record."""
    calibration: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return calibration


def write(calibration: dict[str, Any], path: Path = RECORD) -> None:
    """Replace the record."""
    text = json.dumps(calibration, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


def run(arguments: list[str]) -> int:
    """Run ``./dev golden calibrate``, which takes no arguments."""
    if arguments:
        sys.exit(f"golden calibrate {' '.join(arguments)}: expected no arguments")
    write(calibrate())
    print(f"written: {RECORD}; `./dev docs` shows it in docs/error-bound.md")
    return 0


def _made_with() -> dict[str, str]:
    found = {name: _version(name) for name in PACKAGES}
    return {**found, "Python": platform.python_version(), "CPU": cpu_model()}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _one_frame(signal: str, index: int, name: str) -> dict[str, Any]:
    """Return the bound of every band of one frame, and the error of one front-end there."""
    (front_end,) = (f for f in FRONT_ENDS if f.name.startswith(name))
    audio = render(recipes()[signal])
    judge = Judge(audio, 80)
    error = np.abs(front_end.log_mel(audio, 80) - judge.features)
    columns = {"feature": judge.features, "bound": judge.bound, "error": error}
    return {
        "signal": signal,
        "index": index,
        "front_end": front_end.name,
        **{key: [float(f"{x:.3g}") for x in a[:, index]] for key, a in columns.items()},
    }


# --------------------------------------------------------------------------- search


def search(steps: int, seed: int, front_ends: Iterable[FrontEnd] = FRONT_ENDS) -> Scores:
    """Search the worst clip for each careful front-end, by random recipes and climbing from them.

    Every second recipe is drawn afresh, the others vary the worst one so far of a front-end. The
    results, by name, are ``score``, ``n_mels`` and the ``recipe``.
    """
    usable = [f for f in front_ends if f.kind == "careful" and available(f)]
    worst: Scores = {front_end.name: {"score": -1.0} for front_end in usable}
    rng = np.random.default_rng(seed)
    for step in range(steps):
        if step % 2 == 0:
            recipe = draw_recipe(rng)
        else:
            recipe = vary_recipe(worst[usable[step // 2 % len(usable)].name]["recipe"], rng)
        n_mels = int(rng.choice(N_MELS))
        audio = render(recipe)
        judge = Judge(audio, n_mels)
        for front_end in usable:
            score = judge.score(front_end.log_mel(audio, n_mels))
            if score > worst[front_end.name]["score"]:
                worst[front_end.name] = {"score": score, "n_mels": n_mels, "recipe": recipe}
    return worst


_FREQUENCY = (0.0, 8000.0)
_QUIET = (-120.0, -20.0)
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "noise": {},
    "tone": {"frequency": _FREQUENCY, "phase": (0.0, 1.0)},
    "square": {"frequency": _FREQUENCY},
    "chirp": {"start": _FREQUENCY, "stop": _FREQUENCY},
    "tone_in_noise": {"frequency": _FREQUENCY, "noise_db": _QUIET},
    "noise_ramp": {"start_db": (-100.0, 0.0), "stop_db": (-100.0, 0.0)},
    "on_off": {"period": (1, 2000), "quiet_db": _QUIET},
    "burst": {"start": (0, 8000), "length": (1, 8000)},
    "loud_tail": {"length": (1, 1000), "quiet_db": _QUIET},
    "clicks": {"spacing": (1, 3000), "quiet_db": _QUIET},
    "click_train": {"period": (1, 2000), "offset": (0, 400)},
    "corner": {"noise_db": _QUIET},
    "ramp": {},
}
"""The generators that are searched, and the ranges of their parameters; between integers, only
integers are drawn.
"""
_SEEDED = ("noise", "tone_in_noise", "noise_ramp", "on_off", "burst", "loud_tail", "clicks")


def draw_recipe(rng: np.random.Generator) -> dict[str, Any]:
    signal = str(rng.choice(list(RANGES)))
    recipe: dict[str, Any] = {"signal": signal, "n": int(rng.integers(201, SECOND))}
    recipe["gain"] = float(10 ** rng.uniform(-5, 1))
    if signal in _SEEDED:
        recipe["seed"] = int(rng.integers(2**31))
    for name, (low, high) in RANGES[signal].items():
        recipe[name] = _uniform(low, high, rng)
    return recipe


def vary_recipe(recipe: Recipe, rng: np.random.Generator) -> dict[str, Any]:
    """Vary a recipe: another seed or a slightly different gain or parameter, of the same length."""
    varied = dict(recipe)
    ranges = RANGES[varied["signal"]]
    name = str(rng.choice([key for key in varied if key not in ("signal", "n")]))
    if name == "seed":
        varied["seed"] = int(rng.integers(2**31))
    elif name == "gain":
        varied["gain"] *= float(2 ** rng.uniform(-1, 1))
    else:
        low, high = ranges[name]
        step = (high - low) * 10 ** rng.uniform(-4, -1) * (rng.integers(2) * 2 - 1)
        value = min(max(varied[name] + float(step), low), high)
        varied[name] = round(value) if isinstance(low, int) else value
    return varied


def _uniform(low: float, high: float, rng: np.random.Generator) -> float:
    value = float(rng.uniform(low, high))
    return round(value) if isinstance(low, int) else value
