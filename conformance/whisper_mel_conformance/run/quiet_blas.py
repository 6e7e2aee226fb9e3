"""Load NumPy with one BLAS thread in the judging process; import this before NumPy.

The products are small, and idle BLAS threads spin: on a busy machine they make judging, and the
front-end beside it, up to five times slower. The front-end's own process is not affected.
"""

from __future__ import annotations

import os

_NAME = "OPENBLAS_NUM_THREADS"
_before = os.environ.get(_NAME)
os.environ[_NAME] = "1"

import numpy  # noqa: E402, F401

if _before is None:
    del os.environ[_NAME]
else:
    os.environ[_NAME] = _before
