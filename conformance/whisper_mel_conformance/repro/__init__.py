"""Work on a failure: replay it, shrink it, report it, keep it as a regression.

replay       ``python -m whisper_mel_conformance repro PATH``
shrink       smaller arguments that fail in the same way
"""
