"""Programs that travel to the machine with the GPU.

``cli`` runs the sections there, each in a process of its own (``run_section``), and ``record`` puts
together what they found.

Python 3.10 or newer and NumPy; PyTorch where a section says so. Nothing here imports ``compile`` or
``pack``, but for libraries that are built where there is a checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

CI = Path(__file__).resolve().parents[2]
ROOT = CI.parent
"""Of the archive, or of the checkout."""


def child_environment() -> dict[str, str]:
    """The environment of child processes, which import this package and the archive's others."""
    paths = [str(CI), str(ROOT / "packages"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
