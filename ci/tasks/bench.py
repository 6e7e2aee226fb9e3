"""How fast the kernel is: the work is done by the package ci/bench."""

from __future__ import annotations

import importlib


def layers(arguments: list[str]) -> tuple[str, ...]:
    """openai-whisper, the front-end to compare with, is in the test layer; counting needs none."""
    counts = arguments[:1] == ["instructions"]
    return ("default",) if counts else ("default", "test")


def run(arguments: list[str]) -> int:
    """Runs ``./dev bench``; imported late, because it needs what ./dev is about to install."""
    main = importlib.import_module("bench.cli").main
    status: int = main(arguments)
    return status
