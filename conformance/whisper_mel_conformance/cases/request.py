"""One call that is asked of a front-end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from whisper_mel_reference import WHISPER, FrontEndSpec

from whisper_mel_conformance.cases.recipes import Array, Recipe, length, render_audio
from whisper_mel_conformance.frontend.load import Capabilities, is_among

OPTIONS = ("n_mels", "pad_to", "smoothing", "maximum", "dtype", "threads")
"""The options of ``log_mel`` that a request can have."""


@dataclass(frozen=True)
class Request:
    """One call that is asked of a front-end, as plain data: ``Request(**json)`` reads it.

    Attributes
    ----------
    recipe : the recipe of the clip's samples; None for a batch.
    recipes : those of a batch's clips, all of one length; empty for a single clip.
    n_mels, pad_to, smoothing, maximum, dtype, threads : the options of ``log_mel``; None leaves one
    out.
    streamed : whether the clip is pushed to a stream, in pieces.
    layout : where the samples lie in memory: see :func:`frontend.layouts.lay_out`.
    """

    recipe: Recipe | None = None
    recipes: Sequence[Recipe] = ()
    n_mels: int = 80
    pad_to: int | None = None
    smoothing: Any = None
    maximum: Any = None
    dtype: str | None = None
    threads: int | None = None
    streamed: bool = False
    layout: str = "plain"

    def audio(self) -> Array:
        """Return the samples, shape ``(n,)``, or ``(batch, n)`` of a batch."""
        clips = [render_audio(recipe) for recipe in self._clips()]
        return clips[0] if self.recipe is not None else np.stack(clips)

    def options(self) -> dict[str, Any]:
        """Return what ``FrontEnd.call`` takes beside the audio: the options that are given."""
        given = {name: getattr(self, name) for name in OPTIONS}
        given["layout"] = None if self.layout == "plain" else self.layout
        return {name: value for name, value in given.items() if value is not None}

    def spec(self) -> FrontEndSpec:
        """Return the specification of the features; of a batch, that of each clip's."""
        return WHISPER.replace(
            n_mels=self.n_mels,
            pad_to=self.pad_to,
            smoothing=self.smoothing,
            maximum="clip" if self.maximum is None else self.maximum,
        )

    def of_model(self, able: Capabilities) -> Request:
        """Return the same request with what a front-end's model fixes, where nothing else is asked.

        The number of bands stays: cases ask for it.
        """
        model = able.model or {}
        fixed = {
            name: model[name]
            for name in ("maximum", "pad_to")
            if getattr(self, name) is None and model.get(name) not in (None, "clip")
        }
        return replace(self, **fixed) if fixed else self

    def of_length(self, n: int) -> Request:
        """Return the same request with a clip of ``n`` samples."""
        return replace(self, recipe={**(self.recipe or {}), "n": n})

    def lacking(self, able: Capabilities) -> str | None:
        """Return what a front-end that claims ``able`` lacks for this; None if nothing."""
        clips = self._clips()
        longest = max([self.pad_to or 0, *map(length, clips)])
        if able.max_samples is not None and longest > able.max_samples:
            return f"takes {able.max_samples} samples at most"
        if any((self.pad_to or length(clip)) % able.multiple_of for clip in clips):
            return f"takes multiples of {able.multiple_of} samples"
        if self.recipes and not able.batch:
            return "does not claim batch"
        padded = (able.model or {}).get("pad_to")
        if self.pad_to != padded and not able.pad_to:
            return f"pads to {padded} samples" if self.pad_to is None else "does not claim pad_to"
        if self.threads is not None and not able.threads:
            return "does not claim threads"
        of, maxima = ("streams with ", able.stream) if self.streamed else ("", able.maximum)
        if not is_among(self.maximum, maxima):
            maximum = "clip" if self.maximum is None else self.maximum
            return f"does not claim {of}maximum={maximum!r}"
        if (self.dtype or "float32") not in able.out_dtypes:
            return f"does not claim features of dtype {self.dtype}"
        if self.smoothing not in able.smoothing:
            return f"does not claim smoothing={self.smoothing!r}"
        for dtype in (recipe.get("dtype", "float32") for recipe in clips):
            if dtype not in able.dtypes:
                return f"does not claim {dtype}"
        return None if self.n_mels in able.n_mels else f"does not claim n_mels={self.n_mels}"

    def _clips(self) -> Sequence[Recipe]:
        return self.recipes if self.recipe is None else (self.recipe,)
