"""Test signals, and what openai-whisper makes of them: the goldens of whisper-mel.

``render`` makes samples of a recipe, ``golden_cases`` lists openai-whisper's outputs with
everything that is needed to judge by them, ``load_manifest`` is the file behind it.
"""

from whisper_mel_golden.cases import GoldenCase, golden_cases
from whisper_mel_golden.manifest import load_manifest
from whisper_mel_golden.signals import GENERATORS, render

__all__ = ["GENERATORS", "GoldenCase", "golden_cases", "load_manifest", "render"]
