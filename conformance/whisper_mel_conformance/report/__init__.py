"""The report of a run: files for people and for other programs, lines in the terminal.

write        report.json, and a reproduction of every failure
documents    reading, checking and merging of report.json files
render       all other files, made from report.json
facts        verdicts, counts and commands, which all formats show
page, charts index.html, and its drawings as coordinates
formats      junit.xml, summary.md, badges
terminal     progress, and the table at the end
columns      tables of plain text
figure       features as the page shows them
picture      features as an image
environment  the machine and the software
"""
