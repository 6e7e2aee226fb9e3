"""The error of a front-end that breaks the calling contract."""

from __future__ import annotations


class Broken(Exception):
    """The front-end did what no front-end may do, whatever the features are: no refusal."""
