"""Front-ends in the wild, each as its users call it. One module each, imported only when judged.

Adapters that say ``LIGHT = True`` are judged in every run: they need neither PyTorch nor Node.js,
and are ready in seconds. The others are judged by ``--matrix``.

Where an implementation differs from Whisper's front-end, the adapter leaves that in: the
difference is what there is to see. What an implementation has no way to do raises
``NotImplementedError`` or is not claimed.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from types import ModuleType
from typing import Any


def versions(*distributions: str) -> dict[str, str]:
    """The installed versions of some distributions, by name."""
    return {name: version(name) for name in distributions}


def leave_out_torchaudio_library() -> None:
    """Have torchaudio imported without its compiled part (alignment, IIR filters).

    In the package index's build that part needs CUDA's libraries, and without them torchaudio,
    which transformers imports wherever it is installed, fails. Log-Mel is PyTorch alone.
    """
    extension: Any = ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False
    extension.fail_if_no_align = lambda function: function
    sys.modules.setdefault(extension.__name__, extension)
