"""One run: its setup, the judging in each process, the collected results.

setup        the front-ends, their claims, the declared failures
known        declared failures
judge        the judging of cases, one after the other
result       the result of a case
own_files    the suite's own files, which nothing may change meanwhile
run          all results, missing ones, other problems
quiet_blas   NumPy with one BLAS thread
"""
