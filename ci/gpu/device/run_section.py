"""The program that runs one section in this process; ``cli`` starts it.

``python -m gpu.device.run_section NAME RESULT.json``
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from gpu.device.plan import FAILED, NOT_RUN, PASSED, SECTIONS, Found, NotHere


def main() -> None:
    """Run the section and write its result."""
    name, result = sys.argv[1:]
    write(Path(result), outcome(name))


def outcome(name: str) -> dict[str, Any]:
    """Run a section; return its ``status``, ``findings`` (reasons, in words) and ``data``."""
    section = SECTIONS[name]
    try:
        module = importlib.import_module(f"gpu.device.sections.{section.module}")
        data = module.run(*section.options)
    except NotHere as reason:
        return {"status": NOT_RUN, "findings": [str(reason)], "data": {}}
    except Found as found:
        return {"status": FAILED, "findings": found.findings, "data": found.data}
    except Exception as error:
        traceback.print_exc()
        findings = [f"{type(error).__name__}: {error}", traceback.format_exc()[-3000:]]
        return {"status": FAILED, "findings": findings, "data": {}}
    if not data:
        return {"status": FAILED, "findings": ["nothing was observed"], "data": {}}
    return {"status": PASSED, "findings": [], "data": data}


def write(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    main()
