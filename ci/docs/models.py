"""The table of docs/models.md: the models that hear Whisper's features."""

from __future__ import annotations

from calibration import extractors
from calibration.extractors import EXTRACTORS, Model
from whisper_mel_reference import MODELS

from docs.sections import table

HEAD = ["`--model`", "extractor", "bands:", "`maximum`", "`pad_to`:", "score:", "besides"]


def section() -> str:
    """Return the models in Markdown, with their recorded scores."""
    record = extractors.read()
    made = " and ".join(f"{name} {version}" for name, version in record["made_with"].items())
    rows = [_row(model, record["scores"].get(model.name)) for model in EXTRACTORS]
    return "\n\n".join(
        [
            table(HEAD, rows),
            f"Measured with `{record['command']}`: {made}, on {len(record['clips'])} clips of the "
            "goldens; the score is in units of the [error bound](error-bound.md), 1 is class A.",
        ]
    )


def _row(model: Model, score: float | None) -> list[str]:
    spec = MODELS[model.name]
    maximum = spec.maximum if isinstance(spec.maximum, str) else f"{spec.maximum:g}"
    return [
        f"`{model.name}`",
        f"`{model.extractor}`",
        str(spec.n_mels),
        maximum,
        "none" if spec.pad_to is None else f"{spec.pad_to:,}",
        "not measured" if score is None else f"{score:.2f}",
        model.note,
    ]
