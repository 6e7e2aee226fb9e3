"""Pictures that hold a digest of what they were drawn from.

So ``--check`` needs no matplotlib, and a picture is drawn only if its record has changed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def shows(path: Path, record: Any) -> bool:
    """Whether a picture was drawn from this record."""
    return path.exists() and _digest(record) in path.read_text(encoding="utf-8")


def save(figure: Any, path: Path, record: Any) -> None:
    """Writes a figure of matplotlib as SVG, with the record's digest in its description."""
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None, "Description": _digest(record)})


def _digest(record: Any) -> str:
    text = json.dumps(record, sort_keys=True)
    return f"drawn from sha256:{hashlib.sha256(text.encode()).hexdigest()}"
