"""The documentation as a site: its pages, its links, and what of them is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checkout.paths import ROOT

from docs import site


def test_every_link_of_the_documentation_leads_somewhere(tmp_path: Path) -> None:
    site.stage(ROOT, tmp_path)
    assert (tmp_path / "docs" / "specification.md").exists()
    assert (tmp_path / "examples" / "templates" / "README.md").exists(), "a list of its files"
    pages = [*tmp_path.rglob("*.md")]
    assert len(pages) > 20
    for page in pages:
        for link, place in site.links(page.read_text(encoding="utf-8"), page):
            assert place.is_file(), (page, link)  # MkDocs knows no folders


def test_every_page_is_in_the_navigation() -> None:
    """And nothing else is; pages that are there for the sake of a link need not be."""
    named = re.findall(r"- (?:\w+: )?(\S+\.md)$", site.CONFIG.read_text(), re.MULTILINE)
    pages = {str(it.relative_to(ROOT)) for pattern in site.PAGES for it in ROOT.glob(pattern)}
    assert sorted(named) == sorted({*pages, "api.md"})


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        ("See [here](docs/there.md).", "docs/there.md"),
        ("![a picture](docs/lost.png)", "docs/lost.png"),
        ('<img width="3" src="docs/lost.png">', "docs/lost.png"),
        ("See [here](docs/a.md#part) and [there](../outside.md).", "../outside.md"),
        ("See [here](docs/a.md), [elsewhere](https://example.org/x.md) and `[no](link.md)`.", ""),
    ],
)
def test_a_dead_link_is_named(text: str, dead: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (tmp_path / "outside.md").write_text("# Beyond\n")
    (root / "docs" / "a.md").write_text("# A\n")
    (root / "README.md").write_text(f"# Title\n\n{text}\n\n```sh\n[no](link.md)\n```\n")
    if not dead:
        site.stage(root, tmp_path / "site")
        return
    with pytest.raises(ValueError, match=rf"README.md links to {re.escape(dead)}, which"):
        site.stage(root, tmp_path / "site")


def test_modules_of_the_api_exist() -> None:
    for module in site.API:
        found = [
            folder / f"{module.replace('.', '/')}{end}"
            for folder in (ROOT / "reference", ROOT / "conformance", ROOT / "mojo")
            for end in (".py", "/__init__.py")
        ]
        assert any(it.exists() for it in found), module
