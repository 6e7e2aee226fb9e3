"""Cases that are tried on a front-end while it is diagnosed."""

from __future__ import annotations

from whisper_mel_conformance.cases.case import Case
from whisper_mel_conformance.cases.catalogue import CHECKS
from whisper_mel_conformance.cases.properties import Property
from whisper_mel_conformance.frontend.client import FrontEnd
from whisper_mel_conformance.frontend.errors import Failure, Refused, Unsupported


def can_be_tried(case: Case) -> bool:
    """Return whether a case neither measures nor draws nor forks.

    In a fork BLAS's locks, which other threads of this process hold, would never be released.
    """
    return not (isinstance(case, Property) or CHECKS[case.check].alone or "forks" in case.claims)


def passes(front_end: FrontEnd, case: Case) -> bool | None:
    """Return whether a front-end passes a case; None if it does not support it."""
    if case.beyond(front_end.capabilities) is not None:
        return None
    try:
        CHECKS[case.check](front_end, **case.arguments)
    except Unsupported:
        return None
    except (Failure, Refused):
        return False
    return True
