"""Work on a failure: replay it, shrink it, report it, keep it as a regression.

replay       ``whisper-mel repro PATH``
issue        a bug report that needs nothing of this suite
shrink       smaller arguments that fail in the same way
"""
