"""The bill of materials of a release, in CycloneDX's JSON.

It lists the packages, what they contain of others, and what is installed with them.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from checkout.paths import LOCKS, PACKAGES

Component = dict[str, Any]


def write(dist: Path) -> Path:
    """Write ``whisper-mel-VERSION.cdx.json``; return its path."""
    document = made()
    path = dist / file_name(document["metadata"]["component"]["version"])
    dist.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def file_name(version: str) -> str:
    return f"whisper-mel-{version}.cdx.json"


def made() -> dict[str, Any]:
    """Return the bill of materials, which is the same for the same checkout and environment."""
    ours = [_ours(package) for package in PACKAGES]
    contained = [*_recordings(), _standard_library()]
    needed = _needed(component["name"] for component in ours)
    name = "whisper-mel"
    whole = {"type": "library", "bom-ref": name, "name": name, "version": ours[0]["version"]}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": whole},
        "components": [*ours, *contained, *needed.values()],
        "dependencies": [
            {"ref": component["bom-ref"], "dependsOn": _requirements(component["name"])}
            for component in [*ours, *needed.values()]
        ],
    }


def _ours(package: Path) -> Component:
    name = f"whisper-mel-{package.name}"
    return _component(name, importlib.metadata.version(name))


def _component(name: str, version: str, **more: Any) -> Component:
    """Return a package of Python, with the licence that its metadata names."""
    return {
        "type": "library",
        "bom-ref": name,
        "name": name,
        "version": version,
        "licenses": _licences(name),
        "purl": f"pkg:pypi/{name}@{version}",
        **more,
    }


def _licences(name: str) -> list[dict[str, Any]]:
    """Return the licence of an installed package: its expression, or older packages' words."""
    metadata = importlib.metadata.metadata(name)
    expression = metadata["License-Expression"]
    if expression:
        return [{"expression": expression}]
    classifiers = metadata.get_all("Classifier") or []
    names = [it.rpartition(" :: ")[2] for it in classifiers if it.startswith("License ::")]
    return [{"license": {"name": it}} for it in names or filter(None, [metadata["License"]])]


def _recordings() -> Iterator[Component]:
    """Yield the recorded voices, which whisper-mel-golden and the vectors contain."""
    from whisper_mel_golden import load_manifest
    from whisper_mel_golden.store import DATA

    for name, recording in load_manifest(DATA)["recordings"].items():
        yield {
            "type": "data",
            "bom-ref": f"recording {name}",
            "name": name,
            "description": f"in whisper-mel-golden and in the vectors: {recording['origin']}",
            "licenses": [{"license": {"name": recording["licence"]}}],
            "hashes": [{"alg": "SHA-256", "content": recording["sha256"]}],
        }


def _standard_library() -> Component:
    """Return Mojo's standard library, parts of which are compiled into the kernel's libraries."""
    return {
        "type": "library",
        "bom-ref": "mojo standard library",
        "name": "mojo standard library",
        "version": importlib.metadata.version("mojo-compiler"),
        "description": "inlined into the libraries of whisper-mel-mojo and libwhispermel.so",
        "licenses": [{"expression": "Apache-2.0 WITH LLVM-exception"}],
    }


def _needed(names: Iterable[str]) -> dict[str, Component]:
    """Return what is installed with our packages, without extras; the lock has its hashes."""
    pins = _pins()
    found: dict[str, Component] = {}
    left = [need for name in names for need in _requirements(name)]
    while left:
        name = left.pop()
        if name in found or name.startswith("whisper-mel-"):
            continue
        version = importlib.metadata.version(name)
        hashes = pins[name, version]
        content = [{"alg": "SHA-256", "content": it} for it in hashes]
        found[name] = _component(name, version, hashes=content, scope="required")
        left += _requirements(name)
    return dict(sorted(found.items()))


def _requirements(name: str) -> list[str]:
    """List the names of what a distribution requires here, without extras."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    needs = map(Requirement, importlib.metadata.requires(name) or [])
    return sorted(
        {
            canonicalize_name(need.name)
            for need in needs
            if need.marker is None or need.marker.evaluate({"extra": ""})
        }
    )


def _pins() -> dict[tuple[str, str], list[str]]:
    """Return the SHA-256 of the files that the default lock allows, by name and version."""
    text = (LOCKS / "default.txt").read_text()
    entries = re.findall(r"^([\w.-]+)==([^\s;]+).*((?:\n    --hash.*)+)", text, re.MULTILINE)
    return {
        (name, version): re.findall(r"sha256:([0-9a-f]{64})", hashes)
        for name, version, hashes in entries
    }
