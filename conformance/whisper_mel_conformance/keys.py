"""Keys under which the modules of the pytest plugin share data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from whisper_mel_conformance.run.judge import Judge
    from whisper_mel_conformance.run.result import Result

JUDGE: pytest.StashKey[Judge] = pytest.StashKey()
"""Key of the :class:`Judge` of this process, in the session's stash."""
LIVE: pytest.StashKey[Any] = pytest.StashKey()
"""Key of the ``Live`` progress display, in the session's stash; absent if pytest shows it."""
RESULT: pytest.StashKey[Result] = pytest.StashKey()
"""Key of the :class:`Result` of a test's case, in the test's stash."""
SENT = "whisper_mel"
"""The attribute of a test report that carries a result, and the key of the setup for a worker."""
