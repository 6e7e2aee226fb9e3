"""Why a front-end fails: which known ways of being wrong explain its features.

diagnose     asks the front-end, and says what was found
clips        that it is asked for, and how
answer       a front-end's answer to a clip, and what quirks would have made of it
outcome      what a diagnosis says: cause, fix, evidence
words        sentences about quirks that explain answers
places       where features are off, in words
causes       of wrong answers, in the order in which they are likely:
  search     for quirks, pairs and more that make all answers
  variants   the quirks that it puts together, and values of their numbers
  guess      leaves out pairs that are not worth computing
  fit        finds the numbers that quirks have
  free       what no quirk explains, with one stage left free:
    positions  where frames begin
    linear     the input's filter, and the window
    curve      logarithm and scaling
    weights    the filterbank
  precision  how many bits are left, and in which stage
condition    under which it is wrong, found by further calls:
  asked      the calls, and which of them are wrong
  requests   that differ in one thing from another one
  values     options, types, layouts and batches that wrong calls share
  lengths    numbers of samples that they share
  loudest    where their loudest sample lies
repeated     what depends on other calls
long_clips   what only clips of more than 30 s show
suspects     faults beside the signal path, named by the cases that fail
tried        cases that are tried meanwhile
"""
