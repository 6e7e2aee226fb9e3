"""The manifest: one JSON file that describes every golden, sealed against edits by hand.

``inputs``, ``cases`` and ``recordings`` map ids to entries. Each entry has a ``seal``, a digest of
its other fields; the manifest has a seal over all of it. Seals detect accidents, not forgery.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from whisper_mel_golden.store import DATA

FILE = "manifest.json"
SECTIONS = ("recordings", "inputs", "cases")
Entry = dict[str, Any]


def load_manifest(data: Path = DATA) -> Entry:
    """Read the manifest of a data folder; raise ``ValueError`` if it is not a JSON object."""
    try:
        manifest = json.loads((data / FILE).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{FILE} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise ValueError(f"{FILE} holds {type(manifest).__name__}: expected an object")
    return manifest


def write_manifest(manifest: Entry, data: Path) -> None:
    """Seal and write a manifest."""
    for section in SECTIONS:
        for entry in manifest[section].values():
            entry["seal"] = seal(entry)
    manifest["seal"] = seal(manifest)
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (data / FILE).write_text(text, encoding="utf-8")


def seal(entry: Entry) -> str:
    """Return a digest of an object's fields except ``seal``, whatever their order."""
    fields = {name: value for name, value in entry.items() if name != "seal"}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
