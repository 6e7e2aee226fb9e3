"""Test signals, and openai-whisper's features of them: the goldens of whisper-mel.

``render`` computes the samples of a recipe, which names one of the ``GENERATORS``. ``golden_cases``
lists openai-whisper's outputs, each a ``GoldenCase`` with everything that is needed to judge by it.
``load_manifest`` reads the file that lists them.
"""

from whisper_mel_golden.cases import GoldenCase, golden_cases
from whisper_mel_golden.manifest import load_manifest
from whisper_mel_golden.signals import GENERATORS, render

__all__ = ["GENERATORS", "GoldenCase", "golden_cases", "load_manifest", "render"]
