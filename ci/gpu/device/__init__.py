"""Programs that run on the machine with the GPU.

``cli`` runs the sections, each in a process of its own (``run_section``), and ``record`` combines
their results.

They need Python 3.10 or newer and NumPy, and some sections PyTorch. Nothing here imports
``compile`` or ``pack``, except for libraries that are built in a checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

CI = Path(__file__).resolve().parents[2]
ROOT = CI.parent
"""The root of the archive or of the checkout."""


def child_environment() -> dict[str, str]:
    """Return the environment of child processes, which import this package and the archive's
    others.
    """
    paths = [str(CI), str(ROOT / "packages"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
