"""The machine and the software that a result depends on, without names of machines or persons."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from whisper_mel_golden import vectors
from whisper_mel_golden.machine import cpu_facts, cpu_model
from whisper_mel_reference import BOUND_VERSION

from whisper_mel_conformance.cases.catalogue import CASES_VERSION

_DISTRIBUTIONS = (
    "numpy",
    "hypothesis",
    "whisper-mel-reference",
    "whisper-mel-golden",
    "whisper-mel-conformance",
)
PARTS = {"cases": CASES_VERSION, "vectors": vectors.VERSION, "bound": BOUND_VERSION}
"""The versions of what verdicts depend on, beside the package's (docs/versions.md)."""
# Prefixes of the variables that change what libraries compute, or how
_FLAGS = (
    "BLIS_",
    "CUDA_VISIBLE_",
    "GOTO_",
    "MALLOC_",
    "MKL_",
    "NPY_",
    "OMP_",
    "OPENBLAS_",
    "ROCR_VISIBLE_",
    "TORCH_",
    "WHISPER_MEL_",
)
_PLACE = "WHISPER_MEL_DEV"  # where ./dev has its environment: it changes nothing


def environment() -> dict[str, Any]:
    """Return the environment that a report and a reproduction record."""
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": cpu(),
        "cpus": os.cpu_count(),
        "accelerators": _accelerators(),
        "flags": {
            name: _homeless(value)
            for name, value in sorted(os.environ.items())
            if name.startswith(_FLAGS) and name != _PLACE
        },
        "versions": versions(),
        "packages": _packages(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, of packages, and of the parts of the suite."""
    packages = {name: _version(name) for name in _DISTRIBUTIONS}
    return {"python": platform.python_version()} | packages | PARTS


def judged_by(versions: Mapping[str, str]) -> str:
    """Return the suite's version and those of its parts in words.

    ``versions`` are those that a report records; early reports do not name the parts.
    """
    names = ("whisper-mel-conformance", *PARTS)
    return ", ".join(f"{name} {versions[name]}" for name in names if name in versions)


@lru_cache(maxsize=1)
def cpu() -> str:
    """Return the processor's model and the vector instructions that FFTs choose code by."""
    flags = cpu_facts().get("flags", "").split()
    wide = [flag for flag in ("avx2", "fma", "avx512f") if flag in flags]
    return " ".join([cpu_model(), *wide])


def _accelerators() -> list[str]:
    """Return the GPUs that Linux drivers of NVIDIA and AMD name; an empty list elsewhere."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        models = [x for x in path.read_text(errors="replace").splitlines() if x.startswith("Model")]
        found += [line.partition(":")[2].strip() for line in models]
    for path in sorted(Path("/sys/class/drm").glob("card*/device/product_name")):
        found.append(path.read_text(errors="replace").strip())
    return found


@lru_cache  # as below
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@lru_cache(maxsize=1)  # every reproduction of a failure has it
def _packages() -> dict[str, Any]:
    """Return the number of installed distributions, and a digest of their names and versions.

    Environments with equal digests have the same distributions, however they were made.
    """
    heads = (distribution.read_text("METADATA") or "" for distribution in distributions())
    fields = ([_field(head, name) for name in ("Name", "Version")] for head in heads)
    lines = {f"{name.lower().replace('_', '-')}=={of}" for name, of in fields if name}
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    return {"count": len(lines), "sha256": digest}


def _field(head: str, name: str) -> str:
    """Return a field of a distribution's metadata; the rest is long, and is not parsed."""
    found = re.search(rf"^{name}:(.*)$", head, re.MULTILINE)
    return found[1].strip() if found else ""


def _homeless(text: str) -> str:
    """Replace the home folder in a path by ``~``, because reports are published."""
    home = os.path.expanduser("~")
    return text.replace(home, "~") if len(home) > 1 else text
