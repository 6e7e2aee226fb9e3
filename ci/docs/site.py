"""The documentation as a site: ``./dev docs --site`` builds it in dist/site with MkDocs.

The pages are the files of this repository, laid out as they are here, with all files that they
link to. A link to what does not exist, or a page that ``mkdocs.yml`` does not name, is an error.
Links to other hosts are not followed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from checkout.paths import ROOT

CONFIG = Path(__file__).with_name("mkdocs.yml")
PAGES = ("*.md", "docs/*.md", "docs/*/*.md")
API = {
    "whisper_mel_mojo": (),
    "whisper_mel_mojo.gpu": (),
    "whisper_mel_mojo.torch": (),
    "whisper_mel_mojo.max": (),
    "whisper_mel_mojo.audio_file": (),
    "whisper_mel_mojo.data": (),
    "whisper_mel_reference": (),
    "whisper_mel_conformance.frontend.load": ("Capabilities",),
}
"""Modules whose docstrings the page about the API shows, and which of their names; empty: all."""
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)|<img[^>]* src=\"([^\"]+)\"")
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)


def build() -> int:
    """Build the site; return MkDocs's exit status, 1 if a link leads nowhere."""
    folder = ROOT / "dist" / "site-sources"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        stage(ROOT, folder)
    except ValueError as error:
        print(f"docs --site: {error}", file=sys.stderr)
        return 1
    (folder / "api.md").write_text(api(), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--clean", "--config-file", str(CONFIG)]
    quiet = {"NO_MKDOCS_2_WARNING": "1"}  # the theme's words about its successor
    return subprocess.call(command, cwd=ROOT, env={**os.environ, **quiet})


def api() -> str:
    """Return the page about the API, which mkdocstrings fills in."""
    lines = ["# API"]
    for module, names in API.items():
        lines.append(f"\n::: {module}")
        if names:
            lines.append(f"    options:\n      members: [{', '.join(names)}]")
    return "\n".join(lines) + "\n"


def stage(root: Path, folder: Path) -> None:
    """Copy all pages below ``root``, and whatever they link to, into ``folder``.

    A folder that is linked to has its README, or a list of its files. Raises ``ValueError`` that
    names each link to what does not exist.
    """
    left = sorted(path for pattern in PAGES for path in root.glob(pattern))
    done: set[Path] = set()
    dead = []
    while left:
        path = left.pop()
        if path in done:
            continue
        done.add(path)
        target = folder / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, target)
            continue
        text = path.read_text(encoding="utf-8")
        for link, place in links(text, path):
            if not place.exists() or not place.is_relative_to(root):
                dead.append(f"{path.relative_to(root)} links to {link}, which does not exist")
            elif not place.is_dir():
                left.append(place)
            else:
                text = text.replace(f"]({link})", f"]({link.rstrip('/')}/README.md)")
                if (place / "README.md").exists():
                    left.append(place / "README.md")
                    continue
                left += [it for it in place.iterdir() if it.is_file()]
                _list(place, folder / place.relative_to(root))
        target.write_text(text, encoding="utf-8")
    if dead:
        raise ValueError("; ".join(sorted(dead)))


def links(text: str, path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the links of a Markdown document to files, as written and as the file's place."""
    for match in _LINK.finditer(_CODE.sub("", text)):
        link = match[1] or match[2]
        if not re.match(r"\w+:", link):
            yield link, (path.parent / link).resolve()


def _list(place: Path, target: Path) -> None:
    """Write a page that lists the files of a folder."""
    names = sorted(it.name for it in place.iterdir() if it.is_file())
    target.mkdir(parents=True, exist_ok=True)
    lines = [f"# {place.name}", "", *(f"- [{name}]({name})" for name in names)]
    (target / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
