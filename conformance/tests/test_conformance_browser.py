"""The report's page in a real browser: layout at three widths, keys, script, no complaint."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from browser import Browser, chromium
from documents import EVIL, document
from whisper_mel_conformance.report.render import render

WIDTHS = (360, 800, 1400)

# In CI its absence is a failure: `./dev system` installs it.
pytestmark = [
    pytest.mark.skipif(
        chromium() is None and not os.environ.get("CI"),
        reason="no Chromium to look at the page with (./dev system)",
    ),
    pytest.mark.slow,
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    assert program is not None, "no Chromium: ./dev system"
    opened = Browser(program)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    render(document(failures=30), folder)
    return folder / "index.html"


def overflow(browser: Browser) -> int:
    """By how many pixels the page is wider than the screen."""
    width: int = browser.evaluate("document.documentElement.scrollWidth - innerWidth")
    return width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_and_nothing_complains(
    browser: Browser, page: Path, width: int, scheme: str
) -> None:
    browser.open(page, width, scheme=scheme)
    assert overflow(browser) <= 0
    assert browser.complaints == []
    others = [url for url in browser.requests if not url.startswith("data:")]
    assert others == [page.resolve().as_uri()]
    broken = "[...document.images].filter(i => !i.complete || i.naturalWidth === 0).length"
    assert browser.evaluate(broken) == 0
    assert browser.evaluate("document.images.length") == 3
    brightness = browser.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    )
    assert (brightness > 128) == (scheme == "light")


def test_a_page_that_is_too_wide_or_complains_would_be_seen(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    """The positive control: a wide element, a refused script, an image from elsewhere."""
    text = page.read_text(encoding="utf-8")
    faults = (
        "<pre>" + 400 * "x" + "</pre><script>document.title = 'run'</script>"
        "<img src='https://elsewhere.invalid/x.png' alt='x'>"
    )
    faulty = tmp_path / "faulty.html"
    faulty.write_text(text.replace("<main>", f"<main>{faults}"), encoding="utf-8")
    browser.open(faulty, 360)
    assert overflow(browser) > 0
    assert browser.evaluate("document.title") != "run"
    complaints = "\n".join(browser.complaints)
    assert "script-src" in complaints
    assert "img-src" in complaints


def test_what_a_front_end_says_is_text(browser: Browser, page: Path) -> None:
    browser.open(page, 800)
    names = browser.evaluate("[...document.querySelectorAll('tbody th a')].map(a => a.textContent)")
    assert names == ["good", EVIL]
    assert browser.evaluate("document.scripts.length") == 1


def test_without_script_all_is_there_but_the_tools(browser: Browser, page: Path) -> None:
    browser.open(page, 800, script=False)
    shot_without = browser.screenshot()
    browser.open(page, 800)
    assert shot_without.startswith(b"\x89PNG")
    assert browser.evaluate("document.querySelectorAll('thead button').length") > 0
    assert browser.evaluate("document.querySelector('#verdicts-tools').hidden") is False
    assert "hidden" in page.read_text(encoding="utf-8").split('id="verdicts-tools"')[1][:10]


def test_the_keyboard_reaches_links_tables_and_sorting(browser: Browser, page: Path) -> None:
    browser.open(page, 1400)
    seen = []
    for _ in range(40):
        browser.press("Tab")
        seen.append(browser.evaluate("document.activeElement.outerHTML.slice(0, 90)"))
    assert 'class="skip"' in seen[0]
    for part in ('type="search"', 'class="scroll"', "<button", 'href="#front-end-1"', "<summary"):
        assert any(part in element for element in seen), part
    shown = "[...document.querySelectorAll('#verdicts-table tbody tr')].map(r => r.rowIndex + ''"
    shown += " + r.cells[1].textContent)"
    assert browser.evaluate(shown) == ["1A", "2fails"]
    browser.evaluate("document.querySelectorAll('thead button')[2].focus()")
    for order in (["1A", "2fails"], ["1fails", "2A"]):  # by the worst score, then the other way
        browser.press("Enter")
        assert browser.evaluate(shown) == order
    sort = "document.querySelectorAll('#verdicts-table thead th')[2].getAttribute('aria-sort')"
    assert browser.evaluate(sort) == "descending"


def test_the_filter_hides_what_is_not_asked_for(browser: Browser, page: Path) -> None:
    browser.open(page, 1400)
    browser.evaluate(
        "(() => { const box = document.querySelector('#verdicts-tools [type=checkbox]');"
        " box.click(); })()"
    )
    visible = "[...document.querySelectorAll('#verdicts-table tbody tr')].map(r => r.hidden)"
    assert browser.evaluate(visible) == [True, False]
    assert browser.evaluate("document.querySelector('output').textContent") == "1 of 2"
    articles = "[...document.querySelectorAll('article')].map(a => a.hidden)"
    assert browser.evaluate(articles) == [True, False]


def test_axes_can_be_read_at_every_width(browser: Browser, page: Path) -> None:
    """Labels are of one size at every width, and none lies on another."""
    sizes = set()
    for width in WIDTHS:
        browser.open(page, width)
        axes = "[...document.querySelectorAll('.across')].map(a => [...a.querySelectorAll('text')]"
        axes += ".map(t => { const b = t.getBoundingClientRect(); return [b.left, b.right]; }))"
        shown = browser.evaluate(axes)
        assert len(shown) >= 4
        for labels in shown:
            assert len(labels) >= 2
            assert all(a[1] <= b[0] for a, b in pairwise(labels)), (width, labels)
        size = "[...document.querySelectorAll('.plot text')].map(t => t.getBoundingClientRect()"
        sizes |= {round(height) for height in browser.evaluate(f"{size}.height)")}
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 10


def test_it_can_be_printed(browser: Browser, page: Path) -> None:
    browser.open(page, 800, scheme="dark")
    printed = browser.pdf()
    assert printed.startswith(b"%PDF-")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 6
    browser.emulate_print()
    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.complaints == []
