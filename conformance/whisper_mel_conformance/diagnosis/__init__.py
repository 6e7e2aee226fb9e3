"""Why a front-end fails: which known ways of being wrong explain its features.

diagnose     asks the front-end, and says what was found
answer       a front-end's answer to a clip, and what quirks would have made of it
condition    under which it is wrong, found by further calls
search       for quirks and pairs of them that make all answers
guess        leaves out pairs that are not worth computing
fit          finds the numbers that quirks have
free         what no quirk explains, with one stage left free:
  positions  where frames begin
  linear     the input's filter, and the window
  curve      logarithm and scaling
  weights    the filterbank
precision    how many bits are left, and in which stage
"""
