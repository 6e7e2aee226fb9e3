"""What is asked, and what must come of it: a module for each family of cases, with its checks.

golden, boundary, numerics, buffers, batch, maximum, half, stream, lengths, errors, repeated
(concurrency, determinism, memory), state, honesty
very_long    the longest clips of boundary
properties   cases whose arguments are drawn
drawing      what hypothesis draws for them, and how it searches
regressions  cases that were bugs of somebody's

catalogue    the families in order, and all their cases
case         a case, a family
check        a check: the question that cases put; what many checks do
request      one call that is asked of a front-end
recipes      its samples as plain data
judging      features against the reference, within the error bound
"""
