"""The generated parts of README and docs: ``./dev docs`` writes them, ``--check`` compares them.

cli          the command, and the function that makes each part
site         the documentation as a site: dead links, pages, MkDocs
sections     parts between two marks, and numbers in prose: found, replaced; Markdown tables
pictures     pictures with a digest of the record that they show
catalogue    today's cases, compared with those of a record
front_ends   README's table and docs/front-ends.md; takes a run's report into the record
runs         docs/what-has-run.md; takes runs of our front-ends into the record
speed, quirks, gpu, calibration, numbers
             one part each
"""
