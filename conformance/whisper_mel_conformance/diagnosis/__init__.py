"""Why a front-end fails: which known ways of being wrong explain its features.

diagnose     asks the front-end, and says what was found
fitting      the search for quirks, pairs of them and their numbers
weights      other filterbanks
"""
