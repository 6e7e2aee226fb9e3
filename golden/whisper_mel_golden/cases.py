"""The goldens as test cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisper_mel_reference import WHISPER, FrontEndSpec
from whisper_mel_reference.spec import Maximum

from whisper_mel_golden.manifest import load_manifest
from whisper_mel_golden.signals import render
from whisper_mel_golden.store import DATA, features_path, fingerprint, read_features


@dataclass(frozen=True)
class GoldenCase:
    """One output of openai-whisper or transformers, and what is needed to compute it again.

    Attributes
    ----------
    id : permanent id, ``golden/<input>/<n_mels>``, with ``-pad<samples>`` and ``-<smoothing>``.
    input_id, purpose, flags, recipe : of the input; the recipe tells how to render it.
    n_mels, pad_to, smoothing, maximum : as in ``FrontEndSpec``.
    shape : shape of the features, ``(bands, frames)``.
    score : the golden's own largest error, in units of the bound.
    input_sha256, sha256 : hash of the samples, and of the features.
    """

    id: str
    input_id: str
    purpose: str
    flags: tuple[str, ...]
    recipe: Mapping[str, Any]
    n_mels: int
    pad_to: int | None
    smoothing: str | None
    shape: tuple[int, int]
    score: float
    input_sha256: str
    sha256: str
    data: Path = DATA
    maximum: Maximum = "clip"

    @property
    def spec(self) -> FrontEndSpec:
        return WHISPER.replace(
            n_mels=self.n_mels,
            pad_to=self.pad_to,
            smoothing=self.smoothing,
            maximum=self.maximum,
        )

    def audio(self) -> NDArray[np.float32] | NDArray[np.int16]:
        """Render the samples: float32 or int16, shape ``(n,)``.

        Raises ``ValueError`` if the golden was made from other samples.
        """
        samples = render(self.recipe)
        _require(fingerprint(samples), self.input_sha256, f"input {self.input_id}")
        return samples

    def expected(self) -> NDArray[np.float32]:
        """Read openai-whisper's features, float32 of shape ``shape``.

        Raises ``FileNotFoundError``, or ``ValueError`` if the file is damaged.
        """
        path = features_path(self.id, self.data)
        features = read_features(path, self.shape)
        _require(fingerprint(features), self.sha256, str(path))
        return features


def _require(actual: str, expected: str, what: str) -> None:
    if actual != expected:
        raise ValueError(f"{what} has sha256 {actual}: expected {expected}")


def golden_cases(data: Path = DATA) -> list[GoldenCase]:
    """List all goldens, in the manifest's order."""
    manifest = load_manifest(data)
    return [read_case(manifest, case_id, data) for case_id in manifest["cases"]]


def read_case(manifest: Mapping[str, Any], case_id: str, data: Path = DATA) -> GoldenCase:
    """Create the case of this id from the manifest."""
    case = manifest["cases"][case_id]
    source = manifest["inputs"][case["input"]]
    return GoldenCase(
        id=case_id,
        input_id=case["input"],
        purpose=source["purpose"],
        flags=tuple(source["flags"]),
        recipe=source["recipe"],
        n_mels=case["n_mels"],
        pad_to=case["pad_to"],
        smoothing=case["smoothing"],
        shape=(case["shape"][0], case["shape"][1]),
        score=case["score"],
        input_sha256=source["sha256"],
        sha256=case["sha256"],
        data=data,
        maximum=case.get("maximum", "clip"),
    )
