"""Build hook that puts compiled libraries into the wheel, which is then for one platform.

The libraries are in the folder $WHISPER_MEL_PREBUILT, which ``./dev build wheels`` fills; they are
for $WHISPER_MEL_PLATFORM, or for this machine. Without them the wheel is pure: the kernel is
compiled at first use, with the extra ``build``.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Prebuilt(BuildHookInterface[Any]):
    """The hook that hatchling calls before it packs a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = os.environ.get("WHISPER_MEL_PREBUILT")
        if not folder or version == "editable":
            return
        files = sorted(Path(folder).iterdir())
        if not files:
            raise ValueError(f"WHISPER_MEL_PREBUILT={folder}: expected libraries, it is empty")
        build_data["force_include"].update(
            {str(path): f"whisper_mel_mojo/prebuilt/{path.name}" for path in files}
        )
        platform = os.environ.get("WHISPER_MEL_PLATFORM", sysconfig.get_platform())
        platform = platform.replace("-", "_").replace(".", "_")
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"
