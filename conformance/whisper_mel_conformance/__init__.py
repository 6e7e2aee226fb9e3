"""Conformance suite for implementations of Whisper's log-Mel front-end.

``python -m whisper_mel_conformance --frontend NAME`` or ``pytest --pyargs
whisper_mel_conformance --frontend NAME`` judges a front-end. How one is written and plugged in:
``docs/writing-a-front-end.md``.

frontend, command      what a front-end is, and how one is found and loaded
worker, probes, client the process that it runs in, and what is done there
judging, checks        what is expected of it
catalogue, properties  the cases, fixed and drawn
known                  declared divergences
running, report        one case at a time, report.json, reproductions
environment, figure    what a report says of the machine, and shows of features
rendering/             what is made of report.json: the page, JUnit's XML, Markdown, badges
plugin, suite          pytest
terminal               progress, and the table at the end
"""

__version__ = "0.1.0"
