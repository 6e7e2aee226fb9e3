"""The command ``python ci TASK [args]``, which ./dev and pixi run in a finished environment."""

from __future__ import annotations

import sys

from tasks import main

sys.exit(main(sys.argv[1:]))
