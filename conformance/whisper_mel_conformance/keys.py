"""Where the parts of the pytest plugin keep what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from whisper_mel_conformance.run.judge import Judge
    from whisper_mel_conformance.run.result import Result

JUDGE: pytest.StashKey[Judge] = pytest.StashKey()
"""Of a session: what judges in this process."""
LIVE: pytest.StashKey[Any] = pytest.StashKey()
"""Of a session: the ``Live`` that shows its progress; without it pytest does."""
RESULT: pytest.StashKey[Result] = pytest.StashKey()
"""Of a test: what became of its case."""
SENT = "whisper_mel"
"""The attribute of a report that has a result, and the key of what a process is handed."""
