"""Faulty front-ends and faulty kernels that the suite must reject: ``./dev mutants``."""
