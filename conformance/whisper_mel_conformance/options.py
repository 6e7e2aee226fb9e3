"""The options of a run, in one table that the pytest plugin and the command line read.

pytest has an option ``name`` as ``--mel-name``, since other plugins have options, too; ``python -m
whisper_mel_conformance`` has it as ``--name``. Values are plain data, which pytest-xdist can send
to its processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PROFILES = ("brief", "quick", "ci", "nightly")
PREFIX = "mel_"
"""Prefix of the attributes that hold these options in pytest's namespace."""


@dataclass(frozen=True)
class Option:
    """An option of a run.

    ``settings`` are keyword arguments of argparse's ``add_argument``. ``old`` are pytest's earlier
    spellings, which are accepted unless another plugin has them.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    old: tuple[str, ...] = ()

    @property
    def attribute(self) -> str:
        """The attribute that holds the option in pytest's namespace."""
        return PREFIX + self.name.replace("-", "_")


OPTIONS = (
    Option(
        "frontend",
        {
            "action": "append",
            "default": [],
            "metavar": "SOURCE",
            "help": "a front-end to judge: a registered name, package.module:attribute, "
            "path/to/file.py:attribute or cmd:'./prog {in} {out} {n_mels}' (repeatable)",
        },
        ("--frontend",),
    ),
    Option(
        "name",
        {
            "action": "append",
            "default": [],
            "metavar": "NAME",
            "help": "what the front-end is called in the report and in files of declared failures; "
            "of several, one for each --frontend, in their order",
        },
    ),
    Option(
        "model",
        {
            "metavar": "NAME",
            "default": None,
            "help": "judge by the front-end of this model, such as qwen3-asr or voxtral-realtime: "
            "its bands, maximum and padding (docs/models.md; default: Whisper's definition)",
        },
    ),
    Option(
        "peers",
        {
            "choices": ("none", "light", "all"),
            "default": "none",
            "help": "judge the installed implementations that the suite has adapters for, too: "
            "all, or those that need neither PyTorch nor Node.js (default: none)",
        },
        ("--frontend-peers",),
    ),
    Option(
        "profile",
        {
            "choices": PROFILES,
            "default": "quick",
            "help": "how many and how long cases (default: quick)",
        },
        ("--frontend-profile",),
    ),
    Option(
        "seed",
        {
            "type": int,
            "default": None,
            "metavar": "N",
            "help": "the seed of drawn cases (default: 0)",
        },
    ),
    Option(
        "report",
        {
            "default": "report",
            "metavar": "DIR",
            "help": "folder for the report and the reproductions of failures (default: report)",
        },
        ("--frontend-report",),
    ),
    Option(
        "known-failures",
        {
            "action": "append",
            "default": [],
            "metavar": "FILE",
            "help": "TOML file of declared failures (repeatable)",
        },
        ("--frontend-known",),
    ),
    Option(
        "timeout",
        {
            "type": float,
            "default": 30.0,
            "metavar": "SECONDS",
            "help": "limit of a call; the first call may take six times as long (default: 30)",
        },
        ("--frontend-timeout",),
    ),
    Option(
        "benchmark",
        {
            "action": "append",
            "default": [],
            "metavar": "FILE",
            "help": "a result of `./dev bench`, to be shown in the report (repeatable)",
        },
        ("--frontend-benchmark",),
    ),
    Option(
        "mutants",
        {
            "metavar": "FILE",
            "help": "a result of `./dev mutants`, to be shown in the report",
        },
        ("--frontend-mutants",),
    ),
    Option(
        "quiet",
        {"action": "store_true", "help": "no progress, and at the end only problems"},
        ("--frontend-quiet",),
    ),
)


def value(options: Any, name: str) -> Any:
    """Return the value of the option ``name`` from pytest's or the command line's namespace."""
    return getattr(options, PREFIX + name.replace("-", "_"))


def settings_of(name: str) -> Mapping[str, Any]:
    """Return argparse's settings of the option ``name``."""
    return next(option.settings for option in OPTIONS if option.name == name)
