"""One call that is asked of a front-end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from whisper_mel_reference import WHISPER, FrontEndSpec

from whisper_mel_conformance.cases.recipes import Array, Recipe, length, render_audio
from whisper_mel_conformance.frontend.load import Capabilities


@dataclass(frozen=True)
class Request:
    """One call that is asked of a front-end, as plain data: ``Request(**json)`` reads it.

    Attributes
    ----------
    recipe : the recipe of the clip's samples; None for a batch.
    recipes : those of a batch's clips, all of one length; empty for a single clip.
    n_mels, pad_to, smoothing, threads : the options of ``log_mel``; None leaves one out.
    layout : where the samples lie in memory: see :func:`frontend.layouts.lay_out`.
    """

    recipe: Recipe | None = None
    recipes: Sequence[Recipe] = ()
    n_mels: int = 80
    pad_to: int | None = None
    smoothing: Any = None
    threads: int | None = None
    layout: str = "plain"

    def audio(self) -> Array:
        """Return the samples, shape ``(n,)``, or ``(batch, n)`` of a batch."""
        clips = [render_audio(recipe) for recipe in self._clips()]
        return clips[0] if self.recipe is not None else np.stack(clips)

    def options(self) -> dict[str, Any]:
        """Return what ``FrontEnd.call`` takes beside the audio: the options that are given."""
        given = {name: getattr(self, name) for name in ("n_mels", "pad_to", "smoothing", "threads")}
        given["layout"] = None if self.layout == "plain" else self.layout
        return {name: value for name, value in given.items() if value is not None}

    def spec(self) -> FrontEndSpec:
        """Return what specifies the features, of each clip if it is a batch."""
        return WHISPER.replace(n_mels=self.n_mels, pad_to=self.pad_to, smoothing=self.smoothing)

    def of_length(self, n: int) -> Request:
        """Return the same request with a clip of ``n`` samples."""
        return replace(self, recipe={**(self.recipe or {}), "n": n})

    def lacking(self, able: Capabilities) -> str | None:
        """Return what a front-end that claims ``able`` lacks for this; None if nothing."""
        clips = self._clips()
        longest = max([self.pad_to or 0, *map(length, clips)])
        if able.max_samples is not None and longest > able.max_samples:
            return f"takes {able.max_samples} samples at most"
        if self.recipes and not able.batch:
            return "does not claim batch"
        for name in ("pad_to", "threads"):
            if getattr(self, name) is not None and not getattr(able, name):
                return f"does not claim {name}"
        if self.smoothing not in able.smoothing:
            return f"does not claim smoothing={self.smoothing!r}"
        for dtype in (recipe.get("dtype", "float32") for recipe in clips):
            if dtype not in able.dtypes:
                return f"does not claim {dtype}"
        return None if self.n_mels in able.n_mels else f"does not claim n_mels={self.n_mels}"

    def _clips(self) -> Sequence[Recipe]:
        return self.recipes if self.recipe is None else (self.recipe,)
