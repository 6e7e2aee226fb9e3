"""Maker of the goldens: renders the inputs, runs openai-whisper, writes features and manifest."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER, FrontEndSpec, compare

from whisper_mel_golden import openai
from whisper_mel_golden.inputs import FLAGS, INPUTS, RECORDINGS, Input, case_variants
from whisper_mel_golden.manifest import load_manifest, write_manifest
from whisper_mel_golden.signals import render
from whisper_mel_golden.speech import SPEECH, load_recording, recordings, write_wav
from whisper_mel_golden.store import (
    DATA,
    features_path,
    file_fingerprint,
    fingerprint,
    write_features,
)
from whisper_mel_golden.voices import VOICES, espeak_version, speak

Entries = dict[str, dict[str, Any]]

SCRATCH = ".making"
"""The folder beside the goldens in which new ones are made; git and packages ignore it."""


def make(input_ids: Collection[str] = (), data: Path = DATA) -> None:
    """Make all goldens anew, or those of some inputs; replace the old ones at the end.

    Raises ``RuntimeError`` if the pinned openai-whisper is not installed, if goldens are being
    made here already, or if only some are wanted and the others are missing or come from other
    versions or another CPU; ``ValueError`` for an unknown id.
    """
    for name in input_ids:
        if name not in INPUTS:
            raise ValueError(f"input {name!r} is not in the catalogue")
    openai.require()
    made_with = openai.made_with()
    inputs: Entries = {}
    cases: Entries = {}
    with _scratch(data) as folder:
        old = _others(made_with, data) if input_ids else {"inputs": {}, "cases": {}}
        renew_voices(folder)
        stage = folder / "data"
        shutil.copytree(SPEECH, stage / "speech")
        for entry in INPUTS.values():
            if not input_ids or entry.id in input_ids:
                inputs[entry.id], own = _make_input(entry, stage)
            else:
                inputs[entry.id], own = _keep_input(entry, old, data, stage)
            cases.update(own)
        manifest = {
            "schema": 1,
            "made_with": made_with,
            "flags": FLAGS,
            "recordings": {
                name: {**facts, "sha256": file_fingerprint(SPEECH / f"{name}.wav")}
                for name, facts in RECORDINGS.items()
            },
            "inputs": inputs,
            "cases": cases,
        }
        write_manifest(manifest, stage)
        _replace(data, stage, folder / "old")
    worst = max(cases, key=lambda name: cases[name]["score"])
    print(f"{len(inputs)} inputs, {len(cases)} goldens; worst: {cases[worst]['score']} at {worst}")


@contextlib.contextmanager
def _scratch(data: Path) -> Iterator[Path]:
    """Create a folder to make goldens in, on the file system of ``data``, and lock it.

    Remove what a killed run has left there; if that run was about to replace the goldens, put them
    back first. Raises ``RuntimeError`` while another run holds the folder.
    """
    folder = data.parent / SCRATCH
    with _locked(data.parent):
        if not data.exists() and (folder / "old").exists():
            (folder / "old").rename(data)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock; the system releases it even if the process is killed."""
    import fcntl  # Windows has no fcntl; goldens can be read there, not made

    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise RuntimeError(f"goldens are being made in {folder} already") from None
    try:
        yield
    finally:
        os.close(lock)


def _make_input(entry: Input, stage: Path) -> tuple[dict[str, Any], Entries]:
    """Write an input's features; return the manifest's entries of the input and of its cases."""
    audio = render(entry.recipe)
    own: Entries = {}
    for case_id, n_mels, (pad_to, smoothing) in case_variants(entry):
        features = openai.whisper_features(audio, n_mels, pad_to, smoothing)
        spec = WHISPER.replace(n_mels=n_mels, pad_to=pad_to, smoothing=smoothing)
        own[case_id] = write_golden(case_id, entry, audio, features, spec, stage)
    return input_fields(entry, audio), own


def input_fields(entry: Input, audio: NDArray[np.generic]) -> dict[str, Any]:
    """Return the manifest's entry of an input."""
    return {
        "purpose": entry.purpose,
        "flags": list(entry.flags),
        "recipe": entry.recipe,
        "sha256": fingerprint(audio),
    }


def write_golden(
    case_id: str,
    entry: Input,
    audio: NDArray[np.generic],
    features: NDArray[np.float32],
    spec: FrontEndSpec,
    folder: Path,
) -> dict[str, Any]:
    """Write the features of an input, and say their score; return the manifest's entry."""
    write_features(features_path(case_id, folder), features)
    score = round(compare(features, audio, spec).score, 6)
    print(f"{case_id}: score {score}", flush=True)
    return {
        "input": entry.id,
        "n_mels": spec.n_mels,
        "pad_to": spec.pad_to,
        "smoothing": spec.smoothing,
        **({} if spec.maximum == WHISPER.maximum else {"maximum": spec.maximum}),
        "shape": list(features.shape),
        "sha256": fingerprint(features),
        "score": score,
    }


def _others(made_with: dict[str, str], data: Path) -> dict[str, Any]:
    """Return the manifest in ``data`` if its entries were made with these versions and this CPU."""
    manifest = load_manifest(data)
    if manifest["made_with"] != made_with:
        raise RuntimeError(
            f"the other goldens were made with {manifest['made_with']}, here is {made_with}: "
            "make all of them"
        )
    return manifest


def _keep_input(
    entry: Input, old: dict[str, Any], data: Path, stage: Path
) -> tuple[dict[str, Any], Entries]:
    """Copy an input's features from ``data``; return its entries of the old manifest."""
    own: Entries = {}
    for case_id, *_ in case_variants(entry):
        if case_id not in old["cases"]:
            raise RuntimeError(f"{case_id} has not been made: make {entry.id}, too")
        own[case_id] = old["cases"][case_id]
        target = features_path(case_id, stage)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(features_path(case_id, data), target)
    return old["inputs"][entry.id], own


def renew_voices(scratch: Path) -> None:
    """Render the synthetic voices that are missing; compare the others with a fresh rendering.

    The committed samples are the truth: delete a file to have it rendered anew. ``scratch`` is a
    folder on the same file system that holds a voice until it is complete. Raises ``RuntimeError``
    if a voice is missing and espeak-ng is not installed.
    """
    version = espeak_version()
    for name, voice in VOICES.items():
        missing = name not in recordings()
        if version is None:
            if missing:
                raise RuntimeError(f"recording {name} is missing, and espeak-ng is not installed")
            print(f"{name}: kept (espeak-ng is not installed)")
            continue
        spoken = speak(voice)
        if missing:
            write_wav(scratch / "voice.wav", spoken)
            (scratch / "voice.wav").rename(SPEECH / f"{name}.wav")
            print(f"{name}: rendered by {version}")
        elif np.array_equal(spoken, load_recording(name)):
            print(f"{name}: {version} renders the same")
        else:
            print(f"{name}: kept, {version} renders it differently")


def _replace(current: Path, new: Path, old: Path) -> None:
    """Move ``current`` to ``old`` and ``new`` to its place; both or neither."""
    current.rename(old)
    try:
        new.rename(current)
    except BaseException:
        old.rename(current)
        raise
