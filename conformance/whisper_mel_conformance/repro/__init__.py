"""A failure again: from its ``case.json``, smaller, as a bug report, for good.

replay       ``python -m whisper_mel_conformance repro PATH``
shrink       smaller arguments that fail in the same way
"""
