"""Checker of the goldens: manifest, files, inputs, outputs, scores, fresh outputs."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import CLASS_A, truth
from whisper_mel_reference.bound import Truth, compare_with

from whisper_mel_golden import openai, voxtral
from whisper_mel_golden.cases import GoldenCase, read_case
from whisper_mel_golden.inputs import FLAGS, INPUTS, RECORDINGS, case_variants
from whisper_mel_golden.manifest import FILE, SECTIONS, Entry, load_manifest, seal
from whisper_mel_golden.store import DATA, features_path, file_fingerprint

SCHEMA = Path(__file__).parent / "manifest.schema.json"
SPEECH_DOCUMENTS = ("README.md", "LICENSE.pocketsphinx")
SCORE_TOLERANCE = 1e-4  # the last bits of float64 on another processor move a score by less

Say = Callable[[str], None]


class Problem(NamedTuple):
    """A fault found: where (a case's id, an entry of the manifest, a file) and what it is."""

    where: str
    what: str


def verify(data: Path = DATA, say: Say = print) -> list[Problem]:
    """Check all goldens, say what was checked, return the problems.

    Without openai-whisper everything but its fresh outputs is checked. Raises ``ImportError`` if
    jsonschema is not installed.
    """
    try:
        manifest = load_manifest(data)
    except (OSError, ValueError) as error:
        return [Problem(FILE, str(error))]
    misfits = list(_check_schema(manifest))
    if misfits:
        say(f"{FILE} does not fit its schema: nothing else was checked")
        return misfits
    made_with = ", ".join(f"{name} {value}" for name, value in manifest["made_with"].items())
    say(f"checking {len(manifest['cases'])} goldens, made with {made_with}")
    return [
        *_check_seals(manifest),
        *_check_catalogue(manifest),
        *_check_flags(manifest),
        *_check_files(manifest, data),
        *_check_arrays(manifest, data, say),
        *(_check_voxtral() if data == DATA else ()),
    ]


def _check_voxtral() -> Iterator[Problem]:
    """Check Voxtral Realtime's goldens: seals, hashes, scores."""
    manifest = load_manifest(voxtral.FOLDER)
    yield from _check_seals(manifest)
    for case in voxtral.cases():
        try:
            golden, exact = case.expected(), truth(case.audio(), case.spec)
        except (OSError, ValueError) as error:
            yield Problem(case.id, str(error))
            continue
        score = yield from _score(case, golden, exact, "the golden")
        if not abs(score - case.score) <= SCORE_TOLERANCE:
            yield Problem(case.id, f"score is {case.score} in {FILE}: expected {score:.6f}")


# --------------------------------------------------------------------------- manifest


def _label(section: str, name: str) -> str:
    """Name an entry in a message: a case by its id alone, others with their kind before it."""
    return name if section == "cases" else f"{section.removesuffix('s')} {name}"


def _check_schema(manifest: Entry) -> Iterator[Problem]:
    import jsonschema

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest):
        path = [str(part) for part in error.absolute_path]
        where = _label(path[0], path[1]) if len(path) > 1 else FILE
        field = "/".join(path[2:] if len(path) > 1 else path)
        yield Problem(where, f"{field}: {error.message}" if field else error.message)


def _check_seals(manifest: Entry) -> Iterator[Problem]:
    for section in SECTIONS:
        for name, entry in manifest[section].items():
            if entry["seal"] != seal(entry):
                yield Problem(_label(section, name), f"edited in {FILE}: its seal is broken")
    if manifest["seal"] != seal(manifest):
        yield Problem(FILE, "was edited: its seal is broken")


def _check_catalogue(manifest: Entry) -> Iterator[Problem]:
    """Check that the manifest holds the catalogue's entries and fields, and no other entries."""
    inputs = INPUTS.values()
    catalogue: dict[str, dict[str, Entry]] = {
        "recordings": RECORDINGS,
        "inputs": {
            i.id: {"purpose": i.purpose, "flags": list(i.flags), "recipe": i.recipe} for i in inputs
        },
        "cases": {
            case_id: {"input": i.id, "n_mels": n_mels, **variant._asdict()}
            for i in inputs
            for case_id, n_mels, variant in case_variants(i)
        },
    }
    for section, wanted in catalogue.items():
        told = manifest[section]
        for name in sorted(wanted.keys() | told.keys()):
            where = _label(section, name)
            if name not in told:
                yield Problem(where, f"missing from {FILE}")
            elif name not in wanted:
                yield Problem(where, "not in the catalogue")
            else:
                yield from _differences(where, told[name], wanted[name])


def _differences(where: str, told: Entry, wanted: Entry) -> Iterator[Problem]:
    for field, value in wanted.items():
        if told[field] != value:
            yield Problem(where, f"{field} is {told[field]!r}: expected {value!r}")


def _check_flags(manifest: Entry) -> Iterator[Problem]:
    """Check that each flag is defined as in the catalogue and used by a case."""
    told = manifest["flags"]
    sources = {case["input"] for case in manifest["cases"].values()} & manifest["inputs"].keys()
    used = {flag for name in sources for flag in manifest["inputs"][name]["flags"]}
    for name in sorted(sources):
        for flag in manifest["inputs"][name]["flags"]:
            if flag not in told:
                yield Problem(f"input {name}", f"flag {flag} is not defined")
    for flag in sorted(told.keys() | FLAGS.keys()):
        if flag not in used:
            yield Problem(f"flag {flag}", "no case has it")
        if told.get(flag) != FLAGS.get(flag):
            yield Problem(
                f"flag {flag}", f"defined as {told.get(flag)!r}: expected {FLAGS.get(flag)!r}"
            )


# --------------------------------------------------------------------------- files


def _check_files(manifest: Entry, data: Path) -> Iterator[Problem]:
    """Check that no file is superfluous, none missing, and the recordings are unchanged.

    Missing features are reported by :func:`_check_arrays`.
    """
    speech = {name: data / "speech" / f"{name}.wav" for name in manifest["recordings"]}
    features = {features_path(case_id, data) for case_id in manifest["cases"]}
    others = {data / FILE, *speech.values(), *(data / "speech" / name for name in SPEECH_DOCUMENTS)}
    found = {path for path in data.rglob("*") if path.is_file()}
    for path in sorted(found - features - others):
        yield Problem(f"file {path.relative_to(data)}", "belongs to no entry of the manifest")
    for path in sorted(others - found):
        yield Problem(f"file {path.relative_to(data)}", "is missing")
    for name, path in speech.items():
        if path in found and file_fingerprint(path) != manifest["recordings"][name]["sha256"]:
            yield Problem(f"recording {name}", f"speech/{path.name} has another sha256")


def _check_arrays(manifest: Entry, data: Path, say: Say) -> Iterator[Problem]:
    """Check the hashes of inputs and outputs, and the scores of outputs, stored and made anew."""
    scores: dict[str, float] = {}
    fresh_scores: dict[str, float] = {}
    same_bits = 0
    whisper = openai.installed_version()
    for input_id, case_ids in _cases_by_input(manifest).items():
        if input_id not in manifest["inputs"]:
            yield from (Problem(name, f"input {input_id} is not in {FILE}") for name in case_ids)
            continue
        cases = [read_case(manifest, case_id, data) for case_id in case_ids]
        audio: NDArray[Any] | None = None
        try:
            audio = cases[0].audio()
        except (ValueError, TypeError) as error:
            yield Problem(f"input {input_id}", str(error).removeprefix(f"input {input_id} "))
        for case in cases:
            try:
                golden = case.expected()
            except FileNotFoundError as error:
                yield Problem(case.id, f"{_relative(error.filename, data)} is missing")
                continue
            except ValueError as error:
                yield Problem(case.id, _relative(str(error), data))
                continue
            if audio is None:
                continue
            try:
                exact = truth(audio, case.spec)
            except ValueError as error:
                yield Problem(case.id, f"the golden cannot be compared: {error}")
                continue
            scores[case.id] = yield from _score(case, golden, exact, "the golden")
            if not abs(scores[case.id] - case.score) <= SCORE_TOLERANCE:
                yield Problem(
                    case.id, f"score is {case.score} in {FILE}: expected {scores[case.id]:.6f}"
                )
            if whisper:
                fresh = openai.whisper_features(audio, case.n_mels, case.pad_to, case.smoothing)
                fresh_scores[case.id] = yield from _score(case, fresh, exact, "a fresh output")
                same_bits += np.array_equal(fresh.view(np.uint32), golden.view(np.uint32))
    say(f"{len(scores)} goldens scored against float64: {_worst(scores)}")
    if whisper is None:
        say("openai-whisper is not installed: no fresh outputs were compared")
    else:
        say(
            f"openai-whisper {whisper} made anew: {same_bits} of {len(fresh_scores)} have the "
            f"golden's bits (they may differ between processors); {_worst(fresh_scores)}"
        )


def _relative(message: object, data: Path) -> str:
    return str(message).replace(f"{data}{os.sep}", "")


def _cases_by_input(manifest: Entry) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for case_id, case in manifest["cases"].items():
        grouped.setdefault(case["input"], []).append(case_id)
    return grouped


def _score(
    case: GoldenCase, features: NDArray[np.float32], exact: Truth, what: str
) -> Generator[Problem, None, float]:
    """Score some features; yield a problem if they exceed class A."""
    shape = exact.features.shape
    if features.shape != shape:
        yield Problem(case.id, f"{what} has shape {features.shape}: expected {shape}")
        return math.inf
    worst = compare_with(features, exact.features, exact.bound)
    if not worst.score <= CLASS_A:
        yield Problem(case.id, f"{what} scores {worst.score:.3g}: {worst.reason}")
    return worst.score


def _worst(scores: dict[str, float]) -> str:
    worst = max(scores, key=lambda case_id: scores[case_id], default=None)
    return "none" if worst is None else f"at worst {scores[worst]:.3f} ({worst})"
