"""transformers.js: its ``WhisperFeatureExtractor`` in JavaScript, which ``front_end.mjs`` serves.

It needs Node.js, and the packages of ``package-lock.json`` in this folder.
"""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from whisper_mel_conformance.frontend.command import CommandFrontEnd

FOLDER = Path(__file__).parent
_PACKAGE = FOLDER / "node_modules" / "@huggingface" / "transformers" / "package.json"

if not shutil.which("node"):
    raise ImportError("there is no program node: install Node.js")
if not _PACKAGE.exists():
    raise ImportError(f"{_PACKAGE} is not there: run `npm ci --ignore-scripts` in {FOLDER}")


class _TransformersJs:
    name = "transformers-js"
    device = "cpu"
    versions: ClassVar[dict[str, str]] = {
        "@huggingface/transformers": json.loads(_PACKAGE.read_text(encoding="utf-8"))["version"]
    }
    capabilities: ClassVar[dict[str, Any]] = {
        "n_mels": (80, 128),
        "pad_to": True,
        "max_samples": 480_000,
        "own_process": True,
    }

    def __init__(self) -> None:
        self._program = CommandFrontEnd(shlex.join(["node", str(FOLDER / "front_end.mjs")]))

    def log_mel(
        self, audio: NDArray[Any], n_mels: int = 80, *, pad_to: int | None = None
    ) -> NDArray[np.float32]:
        return self._program.log_mel(audio, n_mels, pad_to=pad_to)


front_end = _TransformersJs()
