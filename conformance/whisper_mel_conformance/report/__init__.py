"""What is said of a run: files for people and for other programs, lines in the terminal.

write        report.json, and a reproduction of every failure
documents    one report.json or several, checked and put together
render       all that is made of report.json
facts        what all formats say: verdicts, counts, commands
page, charts index.html, and its drawings as coordinates
formats      junit.xml, summary.md, badges
terminal     progress, and the table at the end
figure       features as the page shows them
picture      features as an image
environment  the machine and the software
"""
