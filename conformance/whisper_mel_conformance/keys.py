"""Keys under which the modules of the pytest plugin share data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from whisper_mel_conformance.run.judge import Judge
    from whisper_mel_conformance.run.result import Result

JUDGE: pytest.StashKey[Judge] = pytest.StashKey()
"""In a session's stash: the :class:`Judge` of this process."""
LIVE: pytest.StashKey[Any] = pytest.StashKey()
"""In a session's stash: the ``Live`` progress display; absent where pytest shows the progress."""
RESULT: pytest.StashKey[Result] = pytest.StashKey()
"""In a test's stash: the :class:`Result` of its case."""
SENT = "whisper_mel"
"""The attribute of a test report that carries a result, and the key of the setup for a worker."""
