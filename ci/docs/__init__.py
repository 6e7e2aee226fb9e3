"""The generated parts of README and docs: ``./dev docs`` writes them, ``--check`` compares them.

cli          the command, and which part is made by what
sections     parts between two marks and numbers in prose: found, replaced; Markdown tables
pictures     pictures that know what they were drawn from
catalogue    the suite's cases today, beside those that a record was made with
front_ends   README's table and docs/front-ends.md; takes the report of a run into the record
speed, quirks, gpu, calibration, numbers
             one part each
"""
