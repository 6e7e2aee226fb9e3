"""What is asked, and what must come of it.

catalogue    every fixed case by its permanent id
checks       the questions that cases ask
judging      features against the reference, within the error bound
properties   cases whose arguments hypothesis draws
regressions  cases that were bugs of somebody's
"""
