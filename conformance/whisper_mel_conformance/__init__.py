"""Conformance suite for implementations of Whisper's log-Mel front-end.

``python -m whisper_mel_conformance --frontend NAME`` or ``pytest --pyargs
whisper_mel_conformance --frontend NAME`` judges a front-end. How one is written and plugged in:
``docs/writing-a-front-end.md``.

frontend, command      what a front-end is, and how one is found and loaded
peers/                 those in the wild, and where they are known to diverge
worker, probes, client the process that it runs in, and what is done there
layouts                the same samples in other memory
judging, checks        what is expected of it
catalogue, properties  the cases, fixed and drawn
regressions/           cases that were bugs of somebody's
known                  declared divergences
running, report        one case at a time, report.json, reproductions
repro, shrinking       a failure again, and smaller
quirks/                ways of being wrong: for mutants, for a diagnosis, as documentation
diagnosis, fitting,
weights                which of them a failing front-end has
environment, figure,
picture                what a report says of the machine, and shows of features
folder                 a run's own folder, in which nothing is half written
rendering/             what is made of report.json: the page, JUnit's XML, Markdown, badges
plugin, suite          pytest
terminal               progress, and the table at the end
"""

__version__ = "0.1.0"
