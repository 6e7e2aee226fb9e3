"""Conformance suite for implementations of Whisper's log-Mel front-end.

``python -m whisper_mel_conformance --frontend NAME`` or ``pytest --pyargs whisper_mel_conformance
--mel-frontend NAME`` judges a front-end. ``docs/writing-a-front-end.md`` describes how to write one
and plug it in.

frontend/    the front-end that is judged, in a process of its own
cases/       the cases: what a front-end is asked, and what its answer must satisfy
peers/       adapters of front-ends in the wild, and their declared failures
quirks/      ways of being wrong: for mutants, for a diagnosis, as documentation
diagnosis/   which of the quirks a failing front-end has
run/         one run: set up, judged, collected
report/      the report of a run, for people and programs
repro/       replay and shrinking of a failure
compare/     front-ends side by side on a recording, and their costs
__main__     the command line
options      options of the command line and of pytest
folder       folders and files of the suite, written whole or not at all
plugin       pytest: loaded into every run, silent until a front-end is named
suite        pytest: the cases as tests
collecting   pytest: the process that collects the results
keys         pytest: keys of the data that these modules share
"""

__version__ = "0.1.0"
