"""Sanitizers, each with faults planted for it: ``./dev sanitize``."""
