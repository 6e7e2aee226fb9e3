"""One run: what is decided before it, what each process judges, what is known of it in the end.

setup        the front-ends, what they claim, what is declared
known        declared failures
judge        one case after the other
result       what became of a case
run          all results, what is missing, what is wrong beside them
quiet_blas   NumPy with one BLAS thread
"""
