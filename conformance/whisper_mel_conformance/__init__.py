"""Conformance suite for implementations of Whisper's log-Mel front-end.

``python -m whisper_mel_conformance --frontend NAME`` or ``pytest --pyargs
whisper_mel_conformance --mel-frontend NAME`` judges a front-end. How one is written and plugged in:
``docs/writing-a-front-end.md``.

frontend/    who is asked
cases/       what is asked
peers/       adapters of front-ends in the wild, and where they are known to diverge
quirks/      ways of being wrong: for mutants, for a diagnosis, as documentation
diagnosis/   which of them a failing front-end has
run/         one run: set up, judged, collected
report/      what is said of it
repro/       a failure again, and smaller

__main__     the command line
options      its options, which pytest has, too
folder       folders and files that are written whole, and are the suite's own
plugin       pytest: loaded everywhere, silent until a front-end is named
suite        pytest: the cases as tests
collecting   pytest: the process that collects the results
keys         pytest: what these share
"""

__version__ = "0.1.0"
