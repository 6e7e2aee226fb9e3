"""``python ci TASK [args]``, in an environment that is made already: what ./dev and pixi run."""

from __future__ import annotations

import sys

from tasks import main

sys.exit(main(sys.argv[1:]))
