"""Adapters of front-ends in the wild, which call each as its users do.

An adapter is a module of this package that defines ``front_end``; it is named as its peer, with
underscores for hyphens, and imported only when that is judged. Peers whose adapter says
``LIGHT = True`` are judged in every run: they need neither PyTorch nor Node.js and start within
seconds. ``--matrix`` judges the others, too. ``MODEL = "NAME"`` says which model's definition a
peer is judged by, in place of Whisper's.

An adapter keeps every difference between its peer and Whisper's front-end, because the judge is to
find it. What a peer cannot do is not declared as a capability, or raises ``NotImplementedError``.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from types import ModuleType
from typing import Any


def versions(*distributions: str) -> dict[str, str]:
    """Return the installed versions of some distributions, by name."""
    return {name: version(name) for name in distributions}


def leave_out_torchaudio_library() -> None:
    """Make torchaudio import without its compiled part (alignment, IIR filters).

    The published build of that part needs CUDA's libraries. Without them torchaudio fails to
    import, and so does transformers, which imports torchaudio wherever it is installed. Log-Mel
    features need PyTorch only.
    """
    extension: Any = ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False
    extension.fail_if_no_align = lambda function: function
    sys.modules.setdefault(extension.__name__, extension)
